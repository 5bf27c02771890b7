//! Which session a row belongs to: sessions by key, how they grow and merge, and when they end.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BinaryHeap};

use arrow::array::ArrayRef;
use arrow::datatypes::SchemaRef;

use crate::Result;
use crate::operator::window::Window;
use crate::state::{Keys, Remap};

/// No session: of a key that has none, and of a row that is late.
pub(super) const NONE: u32 = u32::MAX;
/// With fewer keys it is not worth while to drop those without sessions.
const COMPACT_FROM: usize = 4096;

/// The open sessions of all keys, by number. Numbers are given anew after [`Sessions::release`].
///
/// A row reaches from its time to one gap later. It joins the sessions of its key that it overlaps or touches, and makes one
/// of two that it lies between. A session is closed when the watermark has reached its last millisecond; it takes no rows then.
pub(super) struct Sessions {
    gap: i64,
    /// Whether a row is late whose own session would be closed, also if it reaches an open one.
    strict: bool,
    keys: Keys,
    /// By key: the open session that ends last, where most rows go.
    newest: Vec<u32>,
    /// The other open sessions, by key and start.
    earlier: BTreeMap<(u32, i64), u32>,
    all: Vec<Session>,
    free: Vec<u32>,
    /// Each session once, by an end that it had: it may have grown since.
    due: BinaryHeap<Reverse<(i64, u32)>>,
    /// Merges since they were last asked for: which session went into which.
    merged: Vec<(u32, u32)>,
    /// The watermark that sessions have gone out up to.
    fired: i64,
    key_ids: Vec<u32>,
}

#[derive(Debug, Clone, Copy)]
struct Session {
    key: u32,
    state: State,
    start: i64,
    end: i64,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    Open,
    /// Closed by the watermark of a row, and about to go out.
    Closed,
    /// Part of another by now.
    Merged(u32),
}

/// A session, and from when to when it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct SessionWindow {
    pub window: Window,
    pub key: u32,
    pub session: u32,
}

impl Sessions {
    /// Sessions of keys of a schema that are at least `gap` milliseconds apart.
    pub fn try_new(gap: i64, strict: bool, keys: SchemaRef) -> Result<Self> {
        Ok(Self {
            gap,
            strict,
            keys: Keys::try_new(keys)?,
            newest: Vec::new(),
            earlier: BTreeMap::new(),
            all: Vec::new(),
            free: Vec::new(),
            due: BinaryHeap::new(),
            merged: Vec::new(),
            fired: i64::MIN,
            key_ids: Vec::new(),
        })
    }

    /// The watermark that sessions have gone out up to.
    pub fn fired(&self) -> i64 {
        self.fired
    }

    /// Goes on from a watermark that was reached before.
    pub fn set_fired(&mut self, watermark: i64) {
        self.fired = watermark;
    }

    /// How many sessions there are.
    pub fn len(&self) -> usize {
        self.all.len() - self.free.len()
    }

    pub fn bytes(&self) -> usize {
        let each = size_of::<Session>() + size_of::<(i64, u32)>();
        self.keys.bytes() + self.newest.capacity() * 4 + self.all.capacity() * each + self.earlier.len() * 24
    }

    /// The session of each row, [`NONE`] for rows that are late: those that reach no open session and would make one that is
    /// closed already. `watermarks` holds the one before each row, where it may matter.
    ///
    /// A session may go into another one by a later row: [`Sessions::resolve`] tells.
    pub fn assign(
        &mut self,
        keys: &[ArrayRef],
        times: &[i64],
        watermarks: Option<&[i64]>,
        sessions: &mut Vec<u32>,
    ) -> Result<()> {
        let mut ids = std::mem::take(&mut self.key_ids);
        self.keys.intern(keys, times.len(), &mut ids)?;
        self.newest.resize(self.keys.len(), NONE);
        sessions.clear();
        sessions.reserve(times.len());
        for (row, (key, time)) in ids.iter().zip(times).enumerate() {
            let watermark = watermarks.map_or(self.fired, |w| w[row].max(self.fired));
            sessions.push(self.add(*key, *time, watermark));
        }
        self.key_ids = ids;
        Ok(())
    }

    fn add(&mut self, key: u32, time: i64, watermark: i64) -> u32 {
        let end = time.saturating_add(self.gap);
        if self.strict && is_closed(end, watermark) {
            return NONE;
        }
        let newest = self.newest[key as usize];
        if newest != NONE {
            let session = &mut self.all[newest as usize];
            if session.start <= time && time <= session.end && !is_closed(session.end, watermark) {
                session.end = session.end.max(end);
                return newest;
            }
        }
        self.add_apart(key, time, end, watermark)
    }

    /// Adds a row that is not within reach of its key's newest session, or before its start.
    fn add_apart(&mut self, key: u32, time: i64, end: i64, watermark: i64) -> u32 {
        let mut touched = NONE;
        while let Some(near) = self.reached(key, time, end, touched) {
            if is_closed(self.all[near as usize].end, watermark) {
                self.take_out(near);
                self.all[near as usize].state = State::Closed;
            } else {
                touched = if touched == NONE { near } else { self.merge(touched, near) };
            }
        }
        if touched != NONE {
            self.extend(touched, time, end);
            return touched;
        }
        if is_closed(end, watermark) { NONE } else { self.open(key, time, end) }
    }

    /// A session of the key, other than `but`, that the span overlaps or touches.
    fn reached(&self, key: u32, time: i64, end: i64, but: u32) -> Option<u32> {
        let before = self.earlier.range((key, i64::MIN)..=(key, time)).next_back();
        let behind = time.checked_add(1).and_then(|next| self.earlier.range((key, next)..=(key, end)).next());
        let newest = self.newest[key as usize];
        let near = [before, behind].into_iter().flatten().map(|(_, session)| *session);
        near.chain((newest != NONE).then_some(newest)).find(|near| {
            let session = &self.all[*near as usize];
            *near != but && session.start <= end && time <= session.end
        })
    }

    fn open(&mut self, key: u32, start: i64, end: i64) -> u32 {
        let session = Session { key, state: State::Open, start, end };
        let id = match self.free.pop() {
            Some(id) => {
                self.all[id as usize] = session;
                id
            }
            None => {
                self.all.push(session);
                self.all.len() as u32 - 1
            }
        };
        self.due.push(Reverse((end, id)));
        self.put_in(id);
        id
    }

    /// Makes a session known under its key.
    fn put_in(&mut self, id: u32) {
        let Session { key, start, end, .. } = self.all[id as usize];
        let newest = self.newest[key as usize];
        if newest == NONE {
            self.newest[key as usize] = id;
        } else if self.all[newest as usize].end < end {
            self.earlier.insert((key, self.all[newest as usize].start), newest);
            self.newest[key as usize] = id;
        } else {
            self.earlier.insert((key, start), id);
        }
    }

    fn take_out(&mut self, id: u32) {
        let Session { key, start, .. } = self.all[id as usize];
        if self.newest[key as usize] == id {
            self.newest[key as usize] = NONE;
        } else {
            self.earlier.remove(&(key, start));
        }
    }

    /// Lets a session reach from `time` at the latest to `end` at the earliest.
    fn extend(&mut self, id: u32, time: i64, end: i64) {
        let Session { start, end: before, .. } = self.all[id as usize];
        if time < start || end > before {
            self.take_out(id);
            let session = &mut self.all[id as usize];
            (session.start, session.end) = (start.min(time), before.max(end));
            self.put_in(id);
        }
    }

    /// Makes one session of two; gives its number.
    fn merge(&mut self, from: u32, into: u32) -> u32 {
        self.take_out(from);
        let Session { start, end, .. } = self.all[from as usize];
        self.all[from as usize].state = State::Merged(into);
        self.merged.push((from, into));
        self.extend(into, start, end);
        into
    }

    /// The merges since the last call, in order: each puts the first session into the second.
    pub fn take_merged(&mut self) -> Vec<(u32, u32)> {
        std::mem::take(&mut self.merged)
    }

    /// The session that one is part of by now.
    pub fn resolve(&self, mut session: u32) -> u32 {
        while let Some(State::Merged(into)) = self.all.get(session as usize).map(|s| s.state) {
            session = into;
        }
        session
    }

    /// Takes out the sessions that a watermark closes, by their end and start; their numbers stay theirs until
    /// [`Sessions::release`].
    pub fn close(&mut self, watermark: i64) -> Vec<SessionWindow> {
        let mut ended = Vec::new();
        self.fired = self.fired.max(watermark);
        while let Some(Reverse((end, id))) = self.due.peek().copied().filter(|due| is_closed(due.0.0, watermark)) {
            let session = self.all[id as usize];
            match session.state {
                State::Open if session.end > end => {
                    self.due.pop();
                    self.due.push(Reverse((session.end, id)));
                    continue;
                }
                State::Merged(_) => self.free.push(id),
                state => {
                    if state == State::Open {
                        self.take_out(id);
                    }
                    let window = Window { start: session.start, end: session.end };
                    ended.push(SessionWindow { window, key: session.key, session: id });
                }
            }
            self.due.pop();
        }
        ended.sort_unstable();
        ended
    }

    /// When the first of the open sessions ends, as far as is known: it may grow.
    pub fn next_end(&self) -> Option<i64> {
        self.due.peek().map(|due| due.0.0)
    }

    /// Gives away the numbers of sessions that have ended, and drops keys if most have no session.
    pub fn release(&mut self, ended: &[SessionWindow]) -> Result<()> {
        self.free.extend(ended.iter().map(|e| e.session));
        if self.keys.len() < COMPACT_FROM || self.keys.len() < self.len() * 2 {
            return Ok(());
        }
        let mut live = vec![false; self.keys.len()];
        self.open_sessions().for_each(|id| live[self.all[id as usize].key as usize] = true);
        let remap = self.keys.retain(|key| live[key as usize])?;
        self.remap_keys(&remap);
        Ok(())
    }

    fn remap_keys(&mut self, remap: &Remap) {
        let open: Vec<u32> = self.open_sessions().collect();
        for session in &mut self.all {
            session.key = remap.get(session.key).unwrap_or(NONE);
        }
        self.earlier.clear();
        self.newest.clear();
        self.newest.resize(self.keys.len(), NONE);
        open.into_iter().for_each(|id| self.put_in(id));
    }

    /// All open sessions, key by key.
    fn open_sessions(&self) -> impl Iterator<Item = u32> + '_ {
        self.newest.iter().copied().filter(|id| *id != NONE).chain(self.earlier.values().copied())
    }

    /// All open sessions in the order of their numbers, between two steps.
    pub fn all_open(&self) -> Vec<SessionWindow> {
        let ended = |id: u32| {
            let Session { key, start, end, .. } = self.all[id as usize];
            SessionWindow { window: Window { start, end }, key, session: id }
        };
        let mut open: Vec<SessionWindow> = self.open_sessions().map(ended).collect();
        open.sort_unstable_by_key(|s| s.session);
        open
    }

    /// The key columns of some keys.
    pub fn key_columns(&self, keys: &[u32]) -> Result<Vec<ArrayRef>> {
        self.keys.take(keys)
    }

    /// Takes over sessions that were handed out, one or more times each: gives their numbers.
    pub fn restore(&mut self, keys: &[ArrayRef], windows: &[Window]) -> Result<Vec<u32>> {
        let mut ids = Vec::new();
        self.keys.intern(keys, windows.len(), &mut ids)?;
        self.newest.resize(self.keys.len(), NONE);
        let mut found = Vec::with_capacity(windows.len());
        for (key, window) in ids.iter().zip(windows) {
            let newest = self.newest[*key as usize];
            let is_newest = newest != NONE && self.all[newest as usize].start == window.start;
            let known = if is_newest { Some(newest) } else { self.earlier.get(&(*key, window.start)).copied() };
            found.push(known.unwrap_or_else(|| self.open(*key, window.start, window.end)));
        }
        Ok(found)
    }
}

fn is_closed(end: i64, watermark: i64) -> bool {
    Window { start: end, end }.is_closed(watermark)
}
