//! Names to addresses, by the C library's resolver, in threads: it blocks, and for how long nobody
//! knows.

use std::collections::HashMap;
use std::ffi::CString;
use std::io;
use std::net::SocketAddr;
use std::sync::mpsc::{self, Receiver, Sender};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::Instant;

use mio::Waker;

use crate::errno::Errno;
use crate::sys::{self, LookupError};

/// What became of a name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Answer {
    /// An address with no port, or the resolver's code.
    pub found: Result<SocketAddr, LookupError>,
    /// From the question to the answer.
    pub resolve_ns: u64,
}

/// Who waits for a name's address, or the answer.
#[derive(Debug)]
enum Entry<T> {
    Asked(Vec<T>),
    Known(Answer),
}

/// What a name is worth at once.
#[derive(Debug, PartialEq, Eq)]
pub enum Looked {
    /// It was looked up before.
    Known(Answer),
    /// It is asked for the first time; the answer will come.
    Asked,
    /// Somebody asked before; the answer will come.
    Waiting,
}

/// The names of a run and who waits for them.
#[derive(Debug)]
pub struct Names<T> {
    entries: HashMap<Box<str>, Entry<T>>,
    waiting: usize,
    threads: Threads,
}

/// Names that are looked up at the same time. Most of them wait for an answer from far away.
const MOST_THREADS: usize = 128;
const STACK_BYTES: usize = 512 * 1024;

impl<T> Names<T> {
    /// No names yet. `waker` is woken when there are answers.
    #[must_use]
    pub fn new(waker: Arc<Waker>) -> Self {
        Self { entries: HashMap::new(), waiting: 0, threads: Threads::new(waker) }
    }

    /// How many wait for an answer.
    #[must_use]
    pub fn waiting(&self) -> usize {
        self.waiting
    }

    /// Looks up a name for somebody.
    pub fn look_up(&mut self, name: &str, who: T) -> Looked {
        if let Some(entry) = self.entries.get_mut(name) {
            return match entry {
                Entry::Known(answer) => Looked::Known(*answer),
                Entry::Asked(waiting) => {
                    waiting.push(who);
                    self.waiting += 1;
                    Looked::Waiting
                }
            };
        }
        self.entries.insert(name.into(), Entry::Asked(vec![who]));
        self.waiting += 1;
        self.threads.ask(name);
        Looked::Asked
    }

    /// Answers that came: for each who asked for it.
    pub fn answers(&mut self) -> Vec<(Answer, Vec<T>)> {
        let mut met = Vec::new();
        while let Some((name, answer)) = self.threads.answer() {
            met.extend(self.settle(&name, answer).map(|waiting| (answer, waiting)));
        }
        met
    }

    /// Gives up a name whose answer has not come in time: who asked for it.
    pub fn give_up(&mut self, name: &str, resolve_ns: u64) -> Option<(Answer, Vec<T>)> {
        let answer = Answer { found: Err(LookupError::Code(libc::EAI_AGAIN)), resolve_ns };
        self.settle(name, answer).map(|waiting| (answer, waiting))
    }

    /// None if the name was given up before.
    fn settle(&mut self, name: &str, answer: Answer) -> Option<Vec<T>> {
        let entry = self.entries.get_mut(name)?;
        match std::mem::replace(entry, Entry::Known(answer)) {
            Entry::Asked(waiting) => {
                self.waiting -= waiting.len();
                Some(waiting)
            }
            known @ Entry::Known(_) => {
                *entry = known;
                None
            }
        }
    }
}

type Question = Box<str>;

/// Threads that look names up; they end with this, each after the name that it is at.
#[derive(Debug)]
struct Threads {
    questions: Sender<Question>,
    taken: Arc<Mutex<Receiver<Question>>>,
    answers: Receiver<(Question, Answer)>,
    answered: Sender<(Question, Answer)>,
    waker: Arc<Waker>,
    count: usize,
    /// Questions without an answer.
    open: usize,
}

impl Threads {
    fn new(waker: Arc<Waker>) -> Self {
        let (questions, taken) = mpsc::channel();
        let (answered, answers) = mpsc::channel();
        let taken = Arc::new(Mutex::new(taken));
        Self { questions, taken, answers, answered, waker, count: 0, open: 0 }
    }

    fn ask(&mut self, name: &str) {
        self.open += 1;
        if self.open > self.count && self.count < MOST_THREADS && self.start().is_ok() {
            self.count += 1;
        }
        if self.count == 0 {
            let found = Err(LookupError::System(Errno(libc::EAGAIN)));
            let _ = self.answered.send((name.into(), Answer { found, resolve_ns: 0 }));
            let _ = self.waker.wake();
        } else {
            let _ = self.questions.send(name.into());
        }
    }

    fn start(&self) -> io::Result<()> {
        let (taken, answered) = (Arc::clone(&self.taken), self.answered.clone());
        let waker = Arc::clone(&self.waker);
        let work = move || {
            loop {
                // One thread waits for a question, the others for the lock.
                let question = taken.lock().unwrap_or_else(PoisonError::into_inner).recv();
                let Ok(name) = question else { return };
                let answer = look_up(&name);
                if answered.send((name, answer)).is_err() {
                    return;
                }
                let _ = waker.wake();
            }
        };
        let builder = thread::Builder::new().name("rsnet-names".into()).stack_size(STACK_BYTES);
        builder.spawn(work).map(drop)
    }

    fn answer(&mut self) -> Option<(Question, Answer)> {
        let answer = self.answers.try_recv().ok()?;
        self.open = self.open.saturating_sub(1);
        Some(answer)
    }
}

fn look_up(name: &str) -> Answer {
    let started = Instant::now();
    let found = match CString::new(name) {
        Ok(name) => sys::getaddrinfo(&name, libc::AF_UNSPEC),
        Err(_) => Err(LookupError::Code(libc::EAI_NONAME)),
    };
    let resolve_ns = u64::try_from(started.elapsed().as_nanos()).unwrap_or(u64::MAX);
    Answer { found, resolve_ns }
}
