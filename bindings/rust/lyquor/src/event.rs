use crate::error::{data, Error};
use crate::handle::Handle;
use crate::message::Message;
use crate::sys::{self, lyq_lane_account, lyq_msg};
use crate::tag::{Lane, Tag};
use std::ffi::c_int;

/// What an endpoint hands out, in one order: messages, and what happened to it.
#[derive(Debug)]
pub enum Item<'a> {
    /// A message.
    Message(Message<'a>),
    /// What happened to which endpoint. The handle's id is 0 if it is about none: a timer of an inbox.
    Event(Handle, Event<'a>),
}

/// What happened to an endpoint. Later releases may add some.
#[derive(Debug)]
#[non_exhaustive]
pub enum Event<'a> {
    /// A listener has this endpoint, whose first item it is.
    Accepted {
        /// The id of its listener: [`Listening::id`](crate::Listening::id).
        listener: u64,
        /// The address of the peer's side.
        remote: String,
    },
    /// There is a connection, the first or another.
    Up(Up),
    /// The connection is lost, or the first attempt to get one failed: why, or `None` if another takes its place
    /// ([`Handle::switch`]). `Up` or `Closed` follows. May overtake messages.
    Down(Option<Error>),
    /// There is room again in a lane, after `WouldBlock`. May overtake messages.
    Writable(Lane),
    /// The peer has consumed all that was sent before [`Handle::ask_flush`]; or why not: it has restarted. May overtake
    /// messages.
    Acked(Option<Error>),
    /// The peer sends no more; it may still receive.
    Ended,
    /// The peer came back without what it had.
    Restarted(Outcome<'a>),
    /// A timer is due: [`Timer::id`](crate::Timer::id).
    Timer(u64),
    /// The last item of an endpoint.
    Closed {
        /// Why; `None` after an orderly end by either side.
        reason: Option<Error>,
        /// What became of its messages.
        outcome: Outcome<'a>,
    },
    /// One that this release does not know, by its number in `enum lyq_kind`.
    Other(u16),
}

/// Of [`Event::Up`].
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Up {
    /// Address of this side of the connection.
    pub local: String,
    /// Address of the peer's side.
    pub remote: String,
    /// The peer's library, such as "lyquor/0.1.0".
    pub agent: String,
    /// The longest message that the peer takes, in bytes.
    pub max_message: u64,
}

/// Counts of one lane's messages since the last restart of the peer. `accepted` is the sum of the next three and of
/// `withdrawn`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct LaneAccount {
    /// Messages that were accepted to be sent.
    pub accepted: u64,
    /// Of these, messages that the peer has consumed.
    pub acknowledged: u64,
    /// Of these, messages of which some connection was given a part: the peer may have them, or not.
    pub maybe_delivered: u64,
    /// Of these, messages of which no connection was given a byte.
    pub never_sent: u64,
    /// Messages received whole from the peer.
    pub received: u64,
    /// Of those accepted, messages that were not sent because their time to live was over.
    pub withdrawn: u64,
}

/// What became of messages when the peer restarted or the endpoint ended.
///
/// It holds the memory of what [`unacked`](Self::unacked) lists: drop it when done. Until then no items of that
/// endpoint behind a restart are handed out.
#[derive(Debug)]
pub struct Outcome<'a> {
    item: Message<'a>,
}

impl Outcome<'_> {
    /// The counts of each lane, by its number ([`Lane::ALL`]); `None` if there was no memory for them.
    pub fn lanes(&self) -> Option<[LaneAccount; 4]> {
        const NONE: lyq_lane_account = lyq_lane_account {
            accepted: 0,
            acknowledged: 0,
            maybe_delivered: 0,
            never_sent: 0,
            received: 0,
            withdrawn: 0,
            reserved: [0; 2],
        };
        let mut all = [NONE; 4];
        // SAFETY: the item's data lives as long as the item, and there are four elements.
        data(unsafe { sys::lyq_account(self.item.raw(), all.as_mut_ptr()) }).ok()?;
        Some(all.map(|lane| LaneAccount {
            accepted: lane.accepted,
            acknowledged: lane.acknowledged,
            maybe_delivered: lane.maybe_delivered,
            never_sent: lane.never_sent,
            received: lane.received,
            withdrawn: lane.withdrawn,
        }))
    }

    /// The counts of all lanes together.
    pub fn total(&self) -> Option<LaneAccount> {
        self.lanes().map(|lanes| {
            lanes.iter().fold(LaneAccount::default(), |sum, lane| LaneAccount {
                accepted: sum.accepted + lane.accepted,
                acknowledged: sum.acknowledged + lane.acknowledged,
                maybe_delivered: sum.maybe_delivered + lane.maybe_delivered,
                never_sent: sum.never_sent + lane.never_sent,
                received: sum.received + lane.received,
                withdrawn: sum.withdrawn + lane.withdrawn,
            })
        })
    }

    /// Lists the messages that were not acknowledged, lane by lane in the order of their ids. After a restart there is
    /// something to list with [`OnRestart::Report`](crate::OnRestart::Report) alone.
    pub fn unacked(&self) -> Unacked<'_> {
        Unacked { outcome: self, cursor: self.item.raw().token, batch: Vec::with_capacity(BATCH), next: 0 }
    }
}

/// A message that was not acknowledged.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Left<'a> {
    /// Its lane and channel.
    pub tag: Tag,
    /// The number that `send` returned.
    pub id: u64,
    /// Some connection was given a part of it: the peer may have it, or not. Else it was never sent.
    pub maybe_delivered: bool,
    /// Its bytes.
    pub data: &'a [u8],
}

const BATCH: usize = 64;

/// Lists what was not acknowledged: see [`Outcome::unacked`].
#[derive(Debug)]
pub struct Unacked<'a> {
    outcome: &'a Outcome<'a>,
    cursor: u64,
    batch: Vec<lyq_msg>,
    next: usize,
}

impl<'a> Iterator for Unacked<'a> {
    type Item = Left<'a>;

    fn next(&mut self) -> Option<Left<'a>> {
        if self.next == self.batch.len() {
            let (ep, to) = (self.outcome.item.raw().ep, self.batch.as_mut_ptr());
            // SAFETY: there is room for so many, and the item is not released.
            let n = data(unsafe { sys::lyq_unacked(ep, &mut self.cursor, to, BATCH) }).unwrap_or(0);
            self.next = 0;
            // SAFETY: so many were filled.
            unsafe { self.batch.set_len(n as usize) };
        }
        let one = self.batch.get(self.next)?;
        self.next += 1;
        let data = match one.size {
            0 => &[][..],
            // SAFETY: the data lives until the item is released, not before `'a` ends.
            size => unsafe { std::slice::from_raw_parts(one.data, size) },
        };
        let maybe_delivered = c_int::from(one.kind) == sys::LYQ_MAYBE_DELIVERED;
        Some(Left { tag: Tag::of(one.tag), id: one.id, maybe_delivered, data })
    }
}

/// The kind of a message.
pub(crate) const DATA: u16 = sys::LYQ_DATA as u16;

impl<'a> Item<'a> {
    /// What an item is; events without an outcome are taken apart, and given back at once.
    #[inline]
    pub(crate) fn of(item: Message<'a>) -> Self {
        match item.raw().kind {
            DATA => Item::Message(item),
            _ => Self::event(item),
        }
    }

    #[cold]
    pub(crate) fn event(item: Message<'a>) -> Self {
        let raw = item.raw();
        let (handle, table) = (item.handle(), Table::of(&item));
        let reason = (raw.code != 0).then(|| c_int::from(raw.code));
        let event = match c_int::from(raw.kind) {
            sys::LYQ_ACCEPTED => Event::Accepted { listener: raw.token, remote: table.text(1) },
            sys::LYQ_UP => Event::Up(Up {
                local: table.text(0),
                remote: table.text(1),
                agent: table.text(2),
                max_message: table.number(3),
            }),
            sys::LYQ_DOWN => Event::Down(reason.map(Error::plain)),
            sys::LYQ_WRITABLE => Event::Writable(Tag::of(raw.tag).lane),
            sys::LYQ_ACKED => Event::Acked(reason.map(Error::plain)),
            sys::LYQ_ENDED => Event::Ended,
            sys::LYQ_TIMER => return Item::Event(handle.with_token(0), Event::Timer(raw.token)),
            sys::LYQ_RESTARTED => Event::Restarted(Outcome { item }),
            sys::LYQ_CLOSED => {
                let reason = reason.map(|code| Error::new(code, table.text(1)));
                Event::Closed { reason, outcome: Outcome { item } }
            }
            _ => Event::Other(raw.kind),
        };
        Item::Event(handle, event)
    }
}

/// A FlatBuffers table of `schema/event.fbs`; without fields if the data is not one.
struct Table<'a> {
    data: &'a [u8],
}

impl<'a> Table<'a> {
    fn of(data: &'a [u8]) -> Self {
        Self { data }
    }

    fn bytes<const N: usize>(&self, at: usize) -> Option<[u8; N]> {
        self.data.get(at..at.checked_add(N)?)?.try_into().ok()
    }

    fn u32(&self, at: usize) -> Option<usize> {
        self.bytes(at).map(|bytes| u32::from_le_bytes(bytes) as usize)
    }

    fn u16(&self, at: usize) -> Option<usize> {
        self.bytes(at).map(|bytes| u16::from_le_bytes(bytes) as usize)
    }

    /// Where a field is.
    fn field(&self, number: usize) -> Option<usize> {
        let table = self.u32(0)?;
        let back = i32::from_le_bytes(self.bytes(table)?);
        let fields = usize::try_from(i64::try_from(table).ok()? - i64::from(back)).ok()?;
        let entry = 4 + 2 * number;
        let offset = if entry < self.u16(fields)? { self.u16(fields + entry)? } else { 0 };
        (offset != 0).then_some(table + offset)
    }

    fn text(&self, number: usize) -> String {
        let find = || {
            let at = self.field(number)?;
            let at = at + self.u32(at)?;
            self.data.get(at + 4..at + 4 + self.u32(at)?)
        };
        String::from_utf8_lossy(find().unwrap_or_default()).into_owned()
    }

    fn number(&self, number: usize) -> u64 {
        self.field(number).and_then(|at| self.bytes(at)).map_or(0, u64::from_le_bytes)
    }
}

/// What ends a loop over messages, or is raised in it.
pub(crate) enum Turn {
    End,
    Raise(Error),
    Nothing,
}

impl Event<'_> {
    /// What an event means to who receives messages alone.
    pub(crate) fn turn(&self) -> Turn {
        match self {
            Event::Ended | Event::Closed { reason: None, .. } => Turn::End,
            Event::Closed { reason: Some(error), .. } => Turn::Raise(error.clone()),
            Event::Restarted(_) => Turn::Raise(Error::restarted()),
            _ => Turn::Nothing,
        }
    }
}
