//! libzmq through the crate zmq, in plaintext: PUSH to PULL, or PAIR; each thread blocks.

use lyquor_bench::Arguments;
use std::time::Instant;
use zmq::{Context, Message, Socket, SocketType};

fn main() -> zmq::Result<()> {
    let a = Arguments::read();
    let socket = Context::new().socket(match (a.latency, a.listen) {
        (true, _) => SocketType::PAIR,
        (false, true) => SocketType::PULL,
        (false, false) => SocketType::PUSH,
    })?;
    let address = format!("tcp://{}", a.address);
    match a.listen {
        true => socket.bind(&address)?,
        false => socket.connect(&address)?,
    }
    match (a.latency, a.listen) {
        (false, true) => receive(&a, &socket),
        (false, false) => send(&a, &socket),
        (true, true) => answer(&a, &socket),
        (true, false) => ask(&a, &socket),
    }
}

fn receive(a: &Arguments, socket: &Socket) -> zmq::Result<()> {
    let mut message = Message::new();
    socket.recv(&mut message, 0)?;
    let first = Instant::now();
    for _ in 1..a.count {
        socket.recv(&mut message, 0)?;
        assert_eq!(message.len(), a.size);
    }
    a.print_rate(first);
    Ok(())
}

fn send(a: &Arguments, socket: &Socket) -> zmq::Result<()> {
    let data = vec![0; a.size];
    for _ in 0..a.count {
        socket.send(&data, 0)?;
    }
    Ok(())
}

fn answer(a: &Arguments, socket: &Socket) -> zmq::Result<()> {
    let mut message = Message::new();
    for _ in 0..a.warm() + a.count {
        socket.recv(&mut message, 0)?;
        socket.send(&*message, 0)?;
    }
    Ok(())
}

fn ask(a: &Arguments, socket: &Socket) -> zmq::Result<()> {
    let (data, mut message, mut trips) = (vec![0; a.size], Message::new(), Vec::new());
    for _ in 0..a.warm() + a.count {
        let start = Instant::now();
        socket.send(&data, 0)?;
        socket.recv(&mut message, 0)?;
        trips.push(start.elapsed());
    }
    a.print_trips(&trips);
    Ok(())
}
