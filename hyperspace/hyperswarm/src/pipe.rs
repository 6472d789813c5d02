//! A secret stream as a pipe of bytes, without channels: what npm `hyperbeam` makes of it.

use crate::connection::ConnectionError;
use crate::secret_stream::{Config, Event, Opening, SecretStream};
use bytes::{Buf, Bytes, BytesMut};
use std::collections::VecDeque;
use std::io;
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::time::Instant;

/// The longest message that is made of the input.
const MESSAGE: usize = 32 << 10;
/// While so much waits to be written, nothing more is read.
const WAITING: usize = 256 << 10;

/// Who has more to say sends a keep-alive every five seconds: after so long without a byte, he
/// is gone.
const SILENCE: Duration = Duration::from_secs(20);

/// When a pipe is over.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Until {
    /// When both sides have said all they have to say.
    BothEnd,
    /// When the other side has, even if the input goes on: for one that has no end, such as
    /// somebody at a terminal.
    OtherEnds,
}

/// Sends what `input` gives, and gives what comes to `output`. When the input ends, our side
/// does, and what comes is still taken.
///
/// At most half a megabyte waits in either direction. When this returns, all that was to be
/// sent was given to the transport; it may not have arrived.
///
/// # Errors
/// If the transport or one of the two fails, the other side is not who it should be, or it has
/// not ended and nothing of it comes for 20 s.
pub async fn pipe<T, R, W>(
    io: T,
    opening: impl Into<Opening>,
    mut input: R,
    mut output: W,
    until: Until,
) -> Result<(), ConnectionError>
where
    T: AsyncRead + AsyncWrite,
    R: AsyncRead + Unpin,
    W: AsyncWrite + Unpin,
{
    let (mut reader, mut writer) = tokio::io::split(io);
    let mut stream = SecretStream::new(opening, Config::default(), now())?;
    let (mut incoming, mut outgoing) = (BytesMut::new(), BytesMut::new());
    let mut read = BytesMut::new();
    let mut messages: VecDeque<Bytes> = VecDeque::new();
    let (mut input_ended, mut shut_down, mut remote_ended) = (false, false, false);
    let mut heard = Instant::now();
    loop {
        while let Some(event) = stream.poll()? {
            match event {
                Event::Message(message) => messages.push_back(message),
                Event::End => remote_ended = true,
                Event::Connected => {}
            }
        }
        outgoing.unsplit(stream.outgoing().split());
        if messages.is_empty() {
            output.flush().await?;
            if remote_ended && (shut_down || until == Until::OtherEnds) {
                if !shut_down {
                    // Who is not there any more need not be told.
                    let _ = writer.shutdown().await;
                }
                return Ok(());
            }
        }
        let due = stream.poll_timeout();
        let listens = messages.is_empty() && !remote_ended;
        if !listens {
            heard = Instant::now();
        }
        tokio::select! {
            written = write_or_end(&mut writer, &outgoing),
                if !outgoing.is_empty() || (input_ended && !shut_down) =>
            {
                match written? {
                    0 => shut_down = true,
                    count => outgoing.advance(count),
                }
            }
            count = reader.read_buf(&mut incoming), if listens => match count? {
                0 => stream.received_end(),
                _ => {
                    heard = Instant::now();
                    stream.read_buffer().unsplit(incoming.split());
                    stream.received(now());
                }
            },
            count = input.read_buf(&mut read),
                if !input_ended && stream.can_send() && outgoing.len() < WAITING =>
            {
                if count? == 0 {
                    input_ended = true;
                    stream.end();
                }
                while !read.is_empty() {
                    let message = read.split_to(read.len().min(MESSAGE));
                    stream.send(now(), &message)?;
                }
            }
            count = write_first(&mut output, &messages), if !messages.is_empty() => {
                let count = count?;
                if let Some(first) = messages.front_mut() {
                    first.advance(count);
                    if first.is_empty() {
                        messages.pop_front();
                    }
                }
            }
            () = sleep_until(due), if due.is_some() => stream.handle_timeout(now())?,
            () = tokio::time::sleep_until(heard + SILENCE), if listens => {
                return Err(io::Error::from(io::ErrorKind::TimedOut).into());
            }
        }
    }
}

fn now() -> std::time::Instant {
    Instant::now().into_std()
}

async fn sleep_until(due: Option<std::time::Instant>) {
    match due {
        Some(due) => tokio::time::sleep_until(due.into()).await,
        None => std::future::pending().await,
    }
}

/// Writes some of it, or, if there is nothing, says that there will be no more.
async fn write_or_end(writer: &mut (impl AsyncWrite + Unpin), bytes: &[u8]) -> io::Result<usize> {
    if bytes.is_empty() {
        writer.shutdown().await?;
        return Ok(0);
    }
    match writer.write(bytes).await? {
        0 => Err(io::ErrorKind::WriteZero.into()),
        count => Ok(count),
    }
}

async fn write_first(
    output: &mut (impl AsyncWrite + Unpin),
    messages: &VecDeque<Bytes>,
) -> io::Result<usize> {
    match messages.front() {
        None => std::future::pending().await,
        Some(first) => match output.write(first).await? {
            0 => Err(io::ErrorKind::WriteZero.into()),
            count => Ok(count),
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::key_pair::KeyPair;
    use crate::noise::{Handshake, Pattern};

    fn openings() -> (Handshake, Handshake) {
        let pair = |seed| KeyPair::from_seed(&[seed; 32]);
        let one = Handshake::initiator(Pattern::Xx, &pair(1), b"").expect("a handshake");
        let two = Handshake::responder(Pattern::Xx, &pair(2), b"").expect("a handshake");
        (one, two)
    }

    #[tokio::test]
    async fn both_ways_to_the_end() {
        let (left, right) = tokio::io::duplex(10_000);
        let (one, two) = openings();
        let bytes = |length: usize, seed: u8| -> Vec<u8> {
            (0..length).map(|index| (index as u8).wrapping_mul(31).wrapping_add(seed)).collect()
        };
        let (forth, back) = (bytes(1_000_000, 1), bytes(700_000, 2));
        let (mut at_left, mut at_right) = (Vec::new(), Vec::new());
        let (a, b) = tokio::join!(
            pipe(left, one, &forth[..], &mut at_left, Until::BothEnd),
            pipe(right, two, &back[..], &mut at_right, Until::BothEnd)
        );
        a.expect("it ends well");
        b.expect("it ends well");
        assert!(at_right == forth && at_left == back);
    }

    #[tokio::test(start_paused = true)]
    async fn who_does_not_take_holds_the_other_back() {
        let (left, right) = tokio::io::duplex(10_000);
        let (one, two) = openings();
        // Nobody reads what the right side gives; the left side has no end.
        let (full, _unread) = tokio::io::duplex(1000);
        let mut endless = Counted(0);
        let both = async {
            tokio::join!(
                pipe(left, one, &mut endless, tokio::io::sink(), Until::BothEnd),
                pipe(right, two, tokio::io::empty(), full, Until::BothEnd)
            )
        };
        assert!(tokio::time::timeout(Duration::from_secs(60), both).await.is_err());
        assert!(endless.0 < 2 << 20, "{} bytes were read", endless.0);
    }

    /// Gives bytes for ever, and counts them.
    struct Counted(usize);

    impl AsyncRead for Counted {
        fn poll_read(
            mut self: std::pin::Pin<&mut Self>,
            _: &mut std::task::Context<'_>,
            buffer: &mut tokio::io::ReadBuf<'_>,
        ) -> std::task::Poll<io::Result<()>> {
            let count = buffer.remaining().min(4096);
            buffer.initialize_unfilled_to(count);
            buffer.advance(count);
            self.0 += count;
            std::task::Poll::Ready(Ok(()))
        }
    }

    #[tokio::test]
    async fn one_without_an_end_stops_when_the_other_has() {
        let (left, right) = tokio::io::duplex(10_000);
        let (one, two) = openings();
        let (_open, input) = tokio::io::duplex(10);
        let mut at_left = Vec::new();
        let (a, b) = tokio::join!(
            pipe(left, one, input, &mut at_left, Until::OtherEnds),
            pipe(right, two, &b"bye"[..], tokio::io::sink(), Until::BothEnd)
        );
        a.expect("it ends well");
        b.expect("it ends well");
        assert_eq!(at_left, b"bye");
    }

    #[tokio::test(start_paused = true)]
    async fn who_is_silent_is_there_and_who_has_gone_without_a_word_is_not() {
        let (left, right) = tokio::io::duplex(10_000);
        let (one, two) = openings();
        let (_endless, input) = tokio::io::duplex(10);
        // Ours has ended: nothing that we send tells whether the other side is there.
        let mut ours = Box::pin(pipe(left, one, tokio::io::empty(), tokio::io::sink(), Until::BothEnd));
        let mut theirs = Box::pin(pipe(right, two, input, tokio::io::sink(), Until::BothEnd));
        tokio::select! {
            ended = &mut ours => panic!("{ended:?}"),
            ended = &mut theirs => panic!("{ended:?}"),
            () = tokio::time::sleep(Duration::from_secs(600)) => {}
        }
        let gone = Instant::now();
        let ended = ours.await.expect_err("nobody is there");
        assert!(
            matches!(&ended, ConnectionError::Io(error) if error.kind() == io::ErrorKind::TimedOut),
            "{ended:?}"
        );
        assert!(gone.elapsed() <= SILENCE, "{:?}", gone.elapsed());
        drop(theirs);
    }

    #[tokio::test]
    async fn an_end_in_the_middle_is_an_error() {
        let (left, right) = tokio::io::duplex(10_000);
        let (one, _) = openings();
        drop(right);
        let ended = pipe(left, one, tokio::io::empty(), tokio::io::sink(), Until::BothEnd).await;
        assert!(ended.is_err());
    }
}
