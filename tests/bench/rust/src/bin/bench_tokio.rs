//! tokio over TCP: messages with their length before them, buffered on both sides, without Nagle's delay. It is the
//! least that a program does which has no library for it: nothing is acknowledged, and nothing outlives the connection.

use lyquor_bench::Arguments;
use std::io::Result;
use std::time::Instant;
use tokio::io::{AsyncReadExt, AsyncWriteExt, BufReader, BufWriter};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpListener, TcpStream};

const BUFFER: usize = 64 << 10;

/// Messages from somebody.
struct Messages {
    input: BufReader<OwnedReadHalf>,
    message: Vec<u8>,
}

impl Messages {
    async fn next(&mut self) -> Result<&[u8]> {
        let size = self.input.read_u32_le().await?;
        self.message.resize(size as usize, 0);
        self.input.read_exact(&mut self.message).await?;
        Ok(&self.message)
    }
}

/// Messages to somebody.
struct Out(BufWriter<OwnedWriteHalf>);

impl Out {
    async fn send(&mut self, message: &[u8]) -> Result<()> {
        self.0.write_u32_le(message.len() as u32).await?;
        self.0.write_all(message).await
    }

    async fn flush(&mut self) -> Result<()> {
        self.0.flush().await
    }
}

#[tokio::main]
async fn main() -> Result<()> {
    let a = Arguments::read();
    let stream = match a.listen {
        true => TcpListener::bind(&a.address).await?.accept().await?.0,
        false => TcpStream::connect(&a.address).await?,
    };
    stream.set_nodelay(true)?;
    let (input, output) = stream.into_split();
    let messages = Messages { input: BufReader::with_capacity(BUFFER, input), message: Vec::new() };
    let out = Out(BufWriter::with_capacity(BUFFER, output));
    // A task of its own, as a server would have it.
    tokio::spawn(async move {
        match (a.latency, a.listen) {
            (false, true) => receive(&a, messages, out).await,
            (false, false) => send(&a, messages, out).await,
            (true, true) => answer(&a, messages, out).await,
            (true, false) => ask(&a, messages, out).await,
        }
    })
    .await
    .expect("it does not panic")
}

async fn receive(a: &Arguments, mut messages: Messages, mut out: Out) -> Result<()> {
    messages.next().await?;
    let first = Instant::now();
    for _ in 1..a.count {
        assert_eq!(messages.next().await?.len(), a.size);
    }
    a.print_rate(first);
    out.send(b"all").await?;
    out.flush().await
}

async fn send(a: &Arguments, mut messages: Messages, mut out: Out) -> Result<()> {
    let message = vec![0; a.size];
    for _ in 0..a.count {
        out.send(&message).await?;
    }
    out.flush().await?;
    messages.next().await.map(drop)
}

async fn answer(a: &Arguments, mut messages: Messages, mut out: Out) -> Result<()> {
    for _ in 0..a.warm() + a.count {
        out.send(messages.next().await?).await?;
        out.flush().await?;
    }
    Ok(())
}

async fn ask(a: &Arguments, mut messages: Messages, mut out: Out) -> Result<()> {
    let (message, mut trips) = (vec![0; a.size], Vec::new());
    for _ in 0..a.warm() + a.count {
        let start = Instant::now();
        out.send(&message).await?;
        out.flush().await?;
        messages.next().await?;
        trips.push(start.elapsed());
    }
    a.print_trips(&trips);
    Ok(())
}
