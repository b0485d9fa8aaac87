use crate::sys;
use std::ffi::c_int;

/// The ordered streams of an endpoint, sent in strict priority `Urgent`, `Normal`, `Low`, `Bulk`, with a small share
/// left to the lower ones.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum Lane {
    /// What is sent without saying more.
    #[default]
    Normal = sys::LYQ_NORMAL as u8,
    /// Before all others.
    Urgent = sys::LYQ_URGENT as u8,
    /// After `Normal`.
    Low = sys::LYQ_LOW as u8,
    /// After all others.
    Bulk = sys::LYQ_BULK as u8,
}

impl Lane {
    /// All lanes, by their numbers, in which [`Outcome::lanes`](crate::Outcome::lanes) counts them.
    pub const ALL: [Lane; 4] = [Lane::Normal, Lane::Urgent, Lane::Low, Lane::Bulk];
}

/// What each message carries: its lane, and a number by which programs dispatch.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Tag {
    /// The ordered stream that it belongs to.
    pub lane: Lane,
    /// The program's own number for what it is.
    pub channel: u16,
}

impl Tag {
    /// A tag of that lane and channel.
    pub const fn new(lane: Lane, channel: u16) -> Self {
        Self { lane, channel }
    }

    #[inline]
    pub(crate) const fn raw(self) -> sys::lyq_tag {
        sys::LYQ_TAG(self.lane as c_int, self.channel)
    }

    #[inline]
    pub(crate) const fn of(raw: sys::lyq_tag) -> Self {
        Self { lane: Lane::ALL[(sys::LYQ_LANE(raw) & 3) as usize], channel: sys::LYQ_CHANNEL(raw) }
    }
}

impl From<Lane> for Tag {
    fn from(lane: Lane) -> Self {
        Self { lane, channel: 0 }
    }
}

impl From<u16> for Tag {
    fn from(channel: u16) -> Self {
        Self { lane: Lane::Normal, channel }
    }
}
