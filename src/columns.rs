//! The rows of a run of TCP clients as columns.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use arrow_array::builder::{BinaryBuilder, Int16Builder, Int64Builder, StringBuilder};
use arrow_array::types::{UInt8Type, UInt16Type};
use arrow_array::{
    ArrayRef, DictionaryArray, Int64Array, RecordBatch, StringArray, TimestampNanosecondArray,
    UInt8Array, UInt16Array, UInt32Array,
};
use rsnet_core::engine::hosts::Host;
use rsnet_core::engine::rows::{self, Ending, More, NONE_NS, Row, Rows, Said, State};
use rsnet_core::engine::targets::{Target, Targets};
use rsnet_core::errno::Errno;
use rsnet_core::resolver::HostError;
use rsnet_core::sockaddr;
use rsnet_core::sys::{self, LookupError};

use crate::errors::Result;

/// What peers were listened to for.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Answers {
    /// Nothing.
    None,
    /// What they say by themselves.
    Banners,
    /// Their answer to a request.
    Dialogues,
}

/// The rows in the order that they have; with a schedule, `every` so long.
pub fn columns(
    targets: &Targets,
    rows: &Rows,
    start_ns: i64,
    answers: Answers,
    every: Option<Duration>,
) -> Result<RecordBatch> {
    let mut asked = Asked::default();
    let mut found = Found::default();
    let mut said = Dialogues::default();
    for row in rows.as_slice() {
        let more = rows.more(row);
        let Some(target) = targets.get(targets.number_at(row.position)) else { continue };
        asked.push(target, more);
        found.push(row, more, start_ns);
        if answers != Answers::None {
            said.push(more.and_then(|more| more.dialogue.as_ref()), answers);
        }
    }
    let mut columns = asked.finish();
    let schedule = every.map(|every| schedule(targets, rows, every));
    if let Some((sequence, _)) = &schedule {
        columns.push(("sequence", Arc::clone(sequence), false));
    }
    columns.push(("state", kinds(found.state, &State::NAMES)?, false));
    columns.push(("errno", Arc::new(found.errno.finish()), true));
    columns.push(("error", found.error.finish()?, true));
    columns.push(("resolve_ns", Arc::new(found.resolve_ns.finish()), true));
    columns.push(("connect_ns", Arc::new(found.connect_ns.finish()), true));
    columns.extend(said.finish(answers)?);
    let time = TimestampNanosecondArray::from(found.time).with_timezone("UTC");
    if let Some((_, send_late_ns)) = schedule {
        columns.push(("send_late_ns", send_late_ns, false));
    }
    columns.push(("attempt", Arc::new(UInt8Array::from(found.attempt)), false));
    columns.push(("time", Arc::new(time), false));
    Ok(RecordBatch::try_from_iter_with_nullable(columns)?)
}

/// The number of each row's round, and how late it began.
fn schedule(targets: &Targets, rows: &Rows, every: Duration) -> (ArrayRef, ArrayRef) {
    let every_ns = u64::try_from(every.as_nanos()).unwrap_or(u64::MAX);
    let rows = rows.as_slice().iter();
    let rounds = rows.clone().map(|row| targets.round_at(row.position));
    let late_ns = rows.map(|row| {
        let due_ns = every_ns.saturating_mul(targets.round_at(row.position));
        i64::try_from(row.started_ns.saturating_sub(due_ns)).unwrap_or(i64::MAX)
    });
    let sequence =
        UInt32Array::from_iter_values(rounds.map(|round| u32::try_from(round).unwrap_or(u32::MAX)));
    (Arc::new(sequence), Arc::new(Int64Array::from_iter_values(late_ns)))
}

type Columns = Vec<(&'static str, ArrayRef, bool)>;

/// Who was asked.
#[derive(Default)]
struct Asked {
    address: StringBuilder,
    name: StringBuilder,
    port: Vec<u16>,
    /// Hosts come in order, each with all its ports.
    last: (Option<IpAddr>, String),
}

impl Asked {
    fn push(&mut self, target: Target<'_>, more: Option<&More>) {
        match target.host {
            Host::Address(ip) => {
                if self.last.0 != Some(ip) {
                    self.last = (Some(ip), text(ip));
                }
                self.address.append_value(&self.last.1);
                self.name.append_null();
            }
            Host::Name(text) => {
                self.address.append_option(rows::resolved(more).map(shown));
                self.name.append_value(text);
            }
        }
        self.port.push(target.port);
    }

    fn finish(mut self) -> Columns {
        vec![
            ("address", Arc::new(self.address.finish()), true),
            ("name", Arc::new(self.name.finish()), true),
            ("port", Arc::new(UInt16Array::from(self.port)), false),
        ]
    }
}

fn text(address: IpAddr) -> String {
    match address {
        IpAddr::V4(address) => sockaddr::ipv4_text(address, &mut [0; 15]).to_owned(),
        IpAddr::V6(address) => address.to_string(),
    }
}

/// An address with its scope, without a port.
fn shown(address: SocketAddr) -> String {
    match address {
        SocketAddr::V6(address) if address.scope_id() != 0 => {
            format!("{}%{}", address.ip(), address.scope_id())
        }
        address => text(address.ip()),
    }
}

/// What came of it.
#[derive(Default)]
struct Found {
    state: Vec<Option<u8>>,
    errno: Int16Builder,
    error: Texts,
    resolve_ns: Int64Builder,
    connect_ns: Int64Builder,
    attempt: Vec<u8>,
    time: Vec<i64>,
}

impl Found {
    fn push(&mut self, row: &Row, more: Option<&More>, start_ns: i64) {
        self.state.push(Some(row.state as u8));
        self.errno.append_option((row.errno != 0).then_some(row.errno));
        match more.and_then(|more| more.answer).map(|answer| answer.found) {
            Some(Err(error)) => self.error.push(Some(resolver_text(error))),
            _ if row.errno == 0 => self.error.push(None),
            _ => self.error.push_errno(Errno(row.errno.into())),
        }
        let answer = more.and_then(|more| more.answer);
        self.resolve_ns.append_option(answer.and_then(|answer| or_null(answer.resolve_ns)));
        self.connect_ns.append_option(or_null(row.connect_ns));
        self.attempt.push(row.attempt);
        self.time.push(start_ns.saturating_add_unsigned(row.started_ns));
    }
}

/// What was said.
#[derive(Default)]
struct Dialogues {
    first_byte_ns: Int64Builder,
    total_ns: Int64Builder,
    ending: Vec<Option<u8>>,
    response: BinaryBuilder,
}

impl Dialogues {
    fn push(&mut self, said: Option<&Said>, answers: Answers) {
        // Who says nothing by itself has no banner, and not an empty one.
        let heard = said.filter(|said| answers == Answers::Dialogues || !said.response.is_empty());
        self.response.append_option(heard.map(|said| &said.response));
        if answers == Answers::Dialogues {
            self.first_byte_ns.append_option(said.and_then(|said| or_null(said.first_byte_ns)));
            self.total_ns.append_option(said.and_then(|said| or_null(said.total_ns)));
            self.ending.push(said.map(|said| said.ending as u8));
        }
    }

    fn finish(mut self, answers: Answers) -> Result<Columns> {
        let response: ArrayRef = Arc::new(self.response.finish());
        Ok(match answers {
            Answers::None => Vec::new(),
            Answers::Banners => vec![("banner", response, true)],
            Answers::Dialogues => vec![
                ("first_byte_ns", Arc::new(self.first_byte_ns.finish()), true),
                ("total_ns", Arc::new(self.total_ns.finish()), true),
                ("ending", kinds(self.ending, &Ending::NAMES)?, true),
                ("response", response, true),
            ],
        })
    }
}

/// Texts of few kinds, each once.
#[derive(Default)]
pub struct Texts {
    keys: Vec<Option<u16>>,
    texts: Vec<String>,
    /// The last error and its key: the same error mostly comes by the thousand.
    last: Option<(Errno, Option<u16>)>,
}

impl Texts {
    pub fn push(&mut self, text: Option<String>) {
        let key = text.and_then(|text| self.key_of(text));
        self.keys.push(key);
    }

    /// The words for an error.
    pub fn push_errno(&mut self, error: Errno) {
        let key = match self.last {
            Some((last, key)) if last == error => key,
            _ => self.key_of(sys::strerror(error)),
        };
        self.last = Some((error, key));
        self.keys.push(key);
    }

    fn key_of(&mut self, text: String) -> Option<u16> {
        let known = self.texts.iter().position(|known| *known == text);
        let at = known.unwrap_or_else(|| {
            self.texts.push(text);
            self.texts.len() - 1
        });
        u16::try_from(at).ok()
    }

    pub fn finish(self) -> Result<ArrayRef> {
        let keys = UInt16Array::from(self.keys);
        let values = Arc::new(StringArray::from(self.texts));
        Ok(Arc::new(DictionaryArray::<UInt16Type>::try_new(keys, values)?))
    }
}

/// Names of few kinds, by their numbers.
pub fn kinds(keys: Vec<Option<u8>>, names: &[&'static str]) -> Result<ArrayRef> {
    let values = Arc::new(StringArray::from(names.to_vec()));
    Ok(Arc::new(DictionaryArray::<UInt8Type>::try_new(UInt8Array::from(keys), values)?))
}

fn or_null(ns: u64) -> Option<i64> {
    if ns == NONE_NS { None } else { i64::try_from(ns).ok() }
}

/// Why a name has no address, in words.
fn resolver_text(error: LookupError) -> String {
    match HostError::from(error) {
        HostError::Resolver(code) => sys::gai_strerror(code),
        HostError::System(errno) => sys::strerror(errno),
        HostError::FamilyMismatch | HostError::UnknownFamily => "unknown address family".into(),
    }
}
