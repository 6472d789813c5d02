//! What a session is told from outside: events of cores, from whatever task they
//! come, kept in order until the session writes them to its client.

mod lengths;

pub(crate) use lengths::Length;

use crate::session::output::Output;
use bytes::Bytes;
use futures::task::AtomicWaker;
use hyperspace_api::{Key, Peer};
use hyperspace_schema::{frame, messages as m, methods};
use lengths::Lengths;
use parking_lot::Mutex;
use std::collections::{HashMap, VecDeque};
use std::task::Waker;

/// One event for a client. `id` is the client's own id of the core.
#[derive(Clone, Debug)]
pub(crate) enum Note {
    Feed {
        key: Key,
    },
    /// It is longer now.
    Append {
        id: u32,
        length: Length,
    },
    /// Its history was rewritten from that length on.
    Truncate {
        id: u32,
        length: Length,
    },
    Close {
        id: u32,
    },
    PeerOpen {
        id: u32,
        peer: Peer,
    },
    PeerRemove {
        id: u32,
        peer: Peer,
    },
    Wait {
        id: u32,
        on_wait_id: u64,
        seq: u64,
    },
    Download {
        id: u32,
        seq: u64,
        byte_length: u64,
    },
    Upload {
        id: u32,
        seq: u64,
        byte_length: u64,
    },
    /// `id` is 0 for an extension of the network.
    Extension {
        id: u32,
        resource: u64,
        from: Key,
        data: Bytes,
    },
    NetworkPeerAdd {
        peer: Peer,
    },
    NetworkPeerRemove {
        peer: Peer,
    },
}

/// Bytes of extensions' messages that wait for one session; more are dropped.
const EXTENSION_BYTES: usize = 16 << 20;

/// The events that wait for one session.
pub(crate) struct Mailbox {
    state: Mutex<State>,
    waker: AtomicWaker,
    limit: usize,
}

#[derive(Default)]
struct State {
    queue: VecDeque<Note>,
    /// What to say of each core whose `Append` or `Truncate` is in the queue, where it
    /// has one place.
    lengths: HashMap<u32, Lengths>,
    /// The session is running, or will look without being woken.
    awake: bool,
    overflown: bool,
    /// Bytes of the extensions' messages in the queue.
    extension_bytes: usize,
}

/// The client is too slow for the events that it asked for.
#[derive(Debug)]
pub(crate) struct Overflown;

impl Mailbox {
    /// `limit`: see [`Limits::events`](crate::Limits::events).
    pub(crate) fn new(limit: usize) -> Self {
        Self { state: Mutex::default(), waker: AtomicWaker::new(), limit }
    }

    /// Adds an event and wakes the session if it sleeps.
    pub(crate) fn push(&self, note: Note) {
        let mut state = self.state.lock();
        match note {
            Note::Append { id, length } => state.lengths_of(id, note).grown(length),
            Note::Truncate { id, length } => state.lengths_of(id, note).cut(length),
            Note::Extension { ref data, .. } if state.extension_bytes + data.len() > EXTENSION_BYTES => {}
            note => {
                if let Note::Extension { data, .. } = &note {
                    state.extension_bytes += data.len();
                }
                let waiting = state.queue.len() - state.lengths.len();
                let lossy = matches!(note, Note::Download { .. } | Note::Upload { .. });
                if waiting >= self.limit * 8 {
                    state.overflown = true;
                } else if waiting < self.limit || !lossy {
                    state.queue.push_back(note);
                }
            }
        }
        if !state.awake {
            state.awake = true;
            drop(state);
            self.waker.wake();
        }
    }

    /// The session runs: pushes need not wake it.
    pub(crate) fn awake(&self, waker: &Waker) {
        self.waker.register(waker);
        self.state.lock().awake = true;
    }

    /// The session is about to sleep: `false` if there is something to do first.
    pub(crate) fn may_sleep(&self) -> bool {
        let mut state = self.state.lock();
        state.awake = !state.queue.is_empty() || state.overflown;
        !state.awake
    }

    /// Something has come.
    pub(crate) fn has_mail(&self) -> bool {
        self.state.lock().awake
    }

    /// Forgets the events of core `id`, which the client has closed.
    pub(crate) fn forget(&self, id: u32) {
        let mut state = self.state.lock();
        let State { queue, lengths, .. } = &mut *state;
        if !queue.is_empty() {
            queue.retain(|note| note.core() != Some(id));
            lengths.remove(&id);
        }
    }

    /// Writes events to `out` until it holds `limit` bytes.
    pub(crate) fn deliver(&self, out: &mut Output, limit: usize) -> Result<(), Overflown> {
        let mut state = self.state.lock();
        if state.overflown {
            return Err(Overflown);
        }
        while out.len() < limit
            && let Some(note) = state.queue.pop_front()
        {
            match note {
                Note::Append { id, .. } | Note::Truncate { id, .. } => {
                    let lengths = state.lengths.remove(&id).unwrap_or_default();
                    lengths.into_told().for_each(|length| Note::Append { id, length }.encode(out));
                }
                note => {
                    if let Note::Extension { data, .. } = &note {
                        state.extension_bytes = state.extension_bytes.saturating_sub(data.len());
                    }
                    note.encode(out);
                }
            }
        }
        Ok(())
    }
}

impl State {
    /// The lengths to tell of core `id`; `note` takes their place in the queue if there
    /// are none yet.
    fn lengths_of(&mut self, id: u32, note: Note) -> &mut Lengths {
        let Self { queue, lengths, .. } = self;
        lengths.entry(id).or_insert_with(|| {
            queue.push_back(note);
            Lengths::default()
        })
    }
}

pub(crate) fn peer(peer: Peer) -> m::Peer {
    m::Peer {
        remote_public_key: bytes::Bytes::copy_from_slice(peer.remote_public_key.as_ref()),
        remote_address: peer.remote_address,
        r#type: peer.kind,
    }
}

/// A list of peers as messages carry it.
pub(crate) fn peers(list: Vec<Peer>) -> Vec<m::Peer> {
    list.into_iter().map(peer).collect()
}

impl Note {
    /// The core that it is about.
    fn core(&self) -> Option<u32> {
        match self {
            Self::Append { id, .. }
            | Self::Truncate { id, .. }
            | Self::Close { id }
            | Self::PeerOpen { id, .. }
            | Self::PeerRemove { id, .. }
            | Self::Wait { id, .. }
            | Self::Download { id, .. }
            | Self::Upload { id, .. } => Some(*id),
            // It is the resource that is closed.
            Self::Extension { .. }
            | Self::Feed { .. }
            | Self::NetworkPeerAdd { .. }
            | Self::NetworkPeerRemove { .. } => None,
        }
    }

    fn encode(self, out: &mut Output) {
        use methods::{corestore, hypercore, network};
        let out = out.tail();
        match self {
            Self::Feed { key } => {
                let key = bytes::Bytes::copy_from_slice(key.as_ref());
                frame::request::<corestore::OnFeed>(out, 0, &m::FeedEvent { key });
            }
            // HRPC has one word for both.
            Self::Append { id, length } | Self::Truncate { id, length } => {
                let Length { blocks: length, bytes: byte_length } = length;
                let event = m::AppendEvent { id: id.into(), length, byte_length };
                frame::request::<hypercore::OnAppend>(out, 0, &event);
            }
            Self::Close { id } => {
                frame::request::<hypercore::OnClose>(out, 0, &m::CloseEvent { id: id.into() });
            }
            Self::PeerOpen { id, peer: p } => {
                frame::request::<hypercore::OnPeerOpen>(
                    out,
                    0,
                    &m::PeerEvent { id: id.into(), peer: peer(p) },
                );
            }
            Self::PeerRemove { id, peer: p } => {
                let event = m::PeerEvent { id: id.into(), peer: peer(p) };
                frame::request::<hypercore::OnPeerRemove>(out, 0, &event);
            }
            Self::Wait { id, on_wait_id, seq } => {
                let event = m::WaitEvent { id: id.into(), on_wait_id, seq };
                frame::request::<hypercore::OnWait>(out, 0, &event);
            }
            Self::Download { id, seq, byte_length } => {
                let event = m::DownloadEvent { id: id.into(), seq, byte_length: Some(byte_length) };
                frame::request::<hypercore::OnDownload>(out, 0, &event);
            }
            Self::Upload { id, seq, byte_length } => {
                let event = m::UploadEvent { id: id.into(), seq, byte_length };
                frame::request::<hypercore::OnUpload>(out, 0, &event);
            }
            Self::Extension { id, resource, from, data } => {
                let message = m::ExtensionMessage {
                    id: id.into(),
                    resource_id: resource,
                    remote_public_key: Some(Bytes::copy_from_slice(from.as_ref())),
                    data,
                };
                match id {
                    0 => frame::request::<network::OnExtension>(out, 0, &message),
                    _ => frame::request::<hypercore::OnExtension>(out, 0, &message),
                }
            }
            Self::NetworkPeerAdd { peer: p } => {
                frame::request::<network::OnPeerAdd>(out, 0, &m::PeerEvent { id: 0, peer: peer(p) });
            }
            Self::NetworkPeerRemove { peer: p } => {
                frame::request::<network::OnPeerRemove>(out, 0, &m::PeerEvent { id: 0, peer: peer(p) });
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use futures::task::{ArcWake, waker};
    use hyperspace_schema::methods::Event;
    use std::sync::Arc;
    use std::sync::atomic::{AtomicUsize, Ordering};

    fn blocks(blocks: u64) -> Length {
        Length { blocks, bytes: 10 * blocks }
    }

    fn append(id: u32, length: u64) -> Note {
        Note::Append { id, length: blocks(length) }
    }

    fn truncate(id: u32, length: u64) -> Note {
        Note::Truncate { id, length: blocks(length) }
    }

    fn told(id: u64, length: u64) -> Event {
        Event::OnAppend(m::AppendEvent { id, length, byte_length: 10 * length })
    }

    fn delivered(mailbox: &Mailbox) -> Vec<Event> {
        let mut out = Output::default();
        mailbox.deliver(&mut out, usize::MAX).unwrap();
        let decoder = frame::Decoder::default();
        std::iter::from_fn(|| decoder.next(out.tail()).unwrap())
            .map(|frame| Event::decode(frame.service, frame.method, frame.payload).unwrap())
            .collect()
    }

    #[test]
    fn appends_are_told_once_with_their_latest_length() {
        let mailbox = Mailbox::new(4);
        for length in 1..=10_000 {
            mailbox.push(append(1, length));
            mailbox.push(append(2, length + 1));
        }
        mailbox.push(Note::Close { id: 3 });
        mailbox.push(append(1, 10_001));
        let close = Event::OnClose(m::CloseEvent { id: 3 });
        assert_eq!(delivered(&mailbox), [told(1, 10_001), told(2, 10_001), close]);
        mailbox.push(append(1, 10_002));
        assert_eq!(delivered(&mailbox), [told(1, 10_002)]);
    }

    #[test]
    fn a_truncation_is_told_whatever_came_after_it() {
        let mailbox = Mailbox::new(4);
        let tell = |notes: &[Note]| {
            notes.iter().for_each(|note| mailbox.push(note.clone()));
            delivered(&mailbox)
        };
        assert_eq!(tell(&[truncate(1, 5), append(1, 9), append(1, 12)]), [told(1, 5), told(1, 12)]);
        // The growth before it shows that 14 is less than what there was.
        let grown = [append(1, 13), append(1, 20), append(2, 1), truncate(1, 14), append(1, 15)];
        assert_eq!(tell(&grown), [told(1, 20), told(1, 14), told(1, 15), told(2, 1)]);
        assert_eq!(tell(&[truncate(1, 3)]), [told(1, 3)]);
        // However often, it is told as one.
        let cuts: Vec<_> = (0..1000).flat_map(|n| [append(1, 2000), truncate(1, 1000 - n)]).collect();
        assert_eq!(tell(&cuts), [told(1, 2000), told(1, 1)]);
        let higher = [truncate(1, 0), append(1, 9), truncate(1, 7)];
        assert_eq!(tell(&higher), [told(1, 0), told(1, 7)]);
        assert_eq!(tell(&[append(1, 8)]), [told(1, 8)]);
    }

    #[test]
    fn a_closed_core_is_not_heard_of_again() {
        let mailbox = Mailbox::new(4);
        mailbox.push(append(1, 1));
        mailbox.push(append(2, 1));
        mailbox.push(Note::Upload { id: 1, seq: 0, byte_length: 1 });
        mailbox.forget(1);
        assert_eq!(delivered(&mailbox).len(), 1);
        mailbox.push(append(1, 7));
        assert_eq!(delivered(&mailbox).len(), 1);
    }

    #[test]
    fn what_may_be_lost_is_lost_first_and_then_the_session() {
        let mailbox = Mailbox::new(4);
        for seq in 0..100 {
            mailbox.push(Note::Download { id: 0, seq, byte_length: 1 });
        }
        for id in 0..4 {
            mailbox.push(Note::Close { id });
        }
        assert_eq!(delivered(&mailbox).len(), 8);
        for id in 0..32 {
            mailbox.push(Note::Close { id });
        }
        assert_eq!(delivered(&mailbox).len(), 32);
        for id in 0..33 {
            mailbox.push(Note::Close { id });
        }
        assert!(mailbox.deliver(&mut Output::default(), usize::MAX).is_err());
        assert!(!mailbox.may_sleep(), "the session must run to notice");
    }

    struct Count(AtomicUsize);

    impl ArcWake for Count {
        fn wake_by_ref(this: &Arc<Self>) {
            this.0.fetch_add(1, Ordering::SeqCst);
        }
    }

    #[test]
    fn only_a_sleeping_session_is_woken_and_only_once() {
        let mailbox = Mailbox::new(4);
        let woken = Arc::new(Count(AtomicUsize::new(0)));
        mailbox.awake(&waker(woken.clone()));
        mailbox.push(append(1, 1));
        assert!(!mailbox.may_sleep());
        delivered(&mailbox);
        assert!(mailbox.may_sleep());
        assert_eq!(woken.0.load(Ordering::SeqCst), 0);
        mailbox.push(append(1, 2));
        mailbox.push(append(2, 2));
        assert_eq!(woken.0.load(Ordering::SeqCst), 1);
    }
}
