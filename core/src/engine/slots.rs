//! Where what is waited for is kept, so that an event that comes late finds nobody else.
#![forbid(unsafe_code)]

use mio::Token;

/// Values by number. A number is used again under another generation.
#[derive(Debug)]
pub struct Slots<T> {
    slots: Vec<(u32, Option<T>)>,
    free: Vec<usize>,
    len: usize,
}

impl<T> Default for Slots<T> {
    fn default() -> Self {
        Self { slots: Vec::new(), free: Vec::new(), len: 0 }
    }
}

impl<T> Slots<T> {
    /// How many values there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.len
    }

    /// True if there is none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Puts a value somewhere: its number and generation.
    pub fn put(&mut self, value: T) -> (usize, u32) {
        self.len += 1;
        if let Some(at) = self.free.pop()
            && let Some((generation, slot)) = self.slots.get_mut(at)
        {
            *slot = Some(value);
            return (at, *generation);
        }
        self.slots.push((0, Some(value)));
        (self.slots.len() - 1, 0)
    }

    /// The value that was put there, if it is there still.
    pub fn get(&mut self, at: usize, generation: u32) -> Option<&mut T> {
        self.slots.get_mut(at).filter(|(now, _)| *now == generation)?.1.as_mut()
    }

    /// Takes the value out, if it is there still.
    pub fn take(&mut self, at: usize, generation: u32) -> Option<T> {
        let (now, slot) = self.slots.get_mut(at).filter(|(now, _)| *now == generation)?;
        let value = slot.take()?;
        *now = now.wrapping_add(1);
        self.free.push(at);
        self.len -= 1;
        Some(value)
    }
}

const SLOT_BITS: u32 = 32;

/// A number and a generation as one.
#[must_use]
pub fn token_of(slot: usize, generation: u32) -> Token {
    Token((generation as usize) << SLOT_BITS | slot)
}

/// The number and the generation of a token.
#[must_use]
pub fn slot_of(token: Token) -> (usize, u32) {
    #[allow(clippy::cast_possible_truncation, reason = "the upper half")]
    let generation = (token.0 >> SLOT_BITS) as u32;
    (token.0 & ((1 << SLOT_BITS) - 1), generation)
}
