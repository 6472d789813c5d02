//! All that is to be silent: every stream is given up, and once their peers have been told so,
//! nothing leaves until it may.

use super::Mux;
use crate::udx::stream::Stream;

impl Mux {
    /// Gives up all streams; after that, nothing is to be sent but that they are.
    pub fn silence(&mut self) {
        if std::mem::replace(&mut self.silent, true) {
            return;
        }
        let all: Vec<u32> = self.streams.keys().copied().collect();
        for id in all {
            self.destroy(id);
        }
        for shelf in self.shelves.values_mut() {
            shelf.forget_passing();
        }
    }

    /// Whatever there is to send is sent again.
    pub fn speak(&mut self) {
        if !std::mem::replace(&mut self.silent, false) {
            return;
        }
        let all: Vec<u32> = self.streams.keys().copied().collect();
        for id in all {
            self.touch(id);
        }
    }

    /// Is nothing to be sent?
    pub fn is_silent(&self) -> bool {
        self.silent
    }

    /// Has everything been sent that was to be sent?
    pub fn is_quiet(&self) -> bool {
        self.shelves.values().all(|shelf| shelf.queue.is_empty() && !shelf.sending)
    }
}

/// May a stream still send something though all is to be silent? Only that it is given up.
pub(super) fn last_word(stream: &Stream) -> bool {
    matches!(stream.closed(), Some(Some(_)))
}
