//! The words that events are made of.

use super::random::{Draws, draw, root};

const STATES: [&str; 6] = ["AZ", "CA", "ID", "OR", "WA", "WY"];
const CITIES: [&str; 10] =
    ["Phoenix", "Los Angeles", "San Francisco", "Boise", "Portland", "Bend", "Redmond", "Seattle", "Kent", "Cheyenne"];
const FIRST_NAMES: [&str; 11] =
    ["Peter", "Paul", "Luke", "John", "Saul", "Vicky", "Kate", "Julie", "Sarah", "Deiter", "Walter"];
const LAST_NAMES: [&str; 9] = ["Shultz", "Abrams", "Spencer", "White", "Bartels", "Walton", "Smith", "Jones", "Noris"];
const HOT_CHANNELS: [&str; 4] = ["Google", "Facebook", "Baidu", "Apple"];
/// Besides the hot ones.
pub(super) const CHANNELS: u64 = 10_000;
/// Every `extra` is a piece of a text of this length.
const PADDING: usize = 64 << 10;

/// Texts that are made once and then only copied.
#[derive(Debug)]
pub(super) struct Texts {
    padding: String,
    channels: Vec<(String, String)>,
}

impl Texts {
    /// The texts of a seed; those of the channels only when they are `wanted`, for there are many.
    pub(super) fn new(seed: u64, channels_wanted: bool) -> Self {
        let mut draws = Draws::new(root(seed, u64::MAX));
        let padding = (0..PADDING).map(|_| letter(&mut draws)).collect();
        let wanted = if channels_wanted { CHANNELS + HOT_CHANNELS.len() as u64 } else { 0 };
        Self { padding, channels: (0..wanted).map(|i| channel(seed, i)).collect() }
    }

    /// The channel and the URL of a bid: one of four hot ones every second time.
    pub(super) fn channel(&self, draw: u64) -> (&str, &str) {
        let mut draws = Draws::new(draw);
        let hot = HOT_CHANNELS.len() as u64;
        let i = if draws.below(2) > 0 { draws.below(hot) } else { hot + draws.below(CHANNELS) };
        self.channels.get(i as usize).map(|(channel, url)| (channel.as_str(), url.as_str())).unwrap_or_default()
    }

    /// Text that brings something of `size` bytes to `average` bytes: on average, and a fifth of it up or down.
    #[inline]
    pub(super) fn extra(&self, draw: u64, size: usize, average: usize) -> &str {
        let Some(missing) = average.checked_sub(size) else { return "" };
        let spread = (missing + 2) / 5;
        let mut draws = Draws::new(draw);
        let length = missing - spread + draws.below(2 * spread as u64) as usize;
        let start = draws.below((PADDING - length.min(PADDING)) as u64 + 1) as usize;
        self.padding.get(start..start + length).unwrap_or_default()
    }
}

fn letter(draws: &mut Draws) -> char {
    char::from(b'a' + draws.below(26) as u8)
}

/// The channels' names and URLs; nine in ten URLs tell a channel's id.
fn channel(seed: u64, i: u64) -> (String, String) {
    let mut draws = Draws::new(draw(root(seed, u64::MAX), i + 1));
    let mut url = String::from("https://www.nexmark.com/");
    for _ in 0..3 {
        word(&mut url, &mut draws, 5, '_');
        url.push('/');
    }
    url.push_str("item.htm?query=1");
    match HOT_CHANNELS.get(i as usize) {
        Some(name) => ((*name).to_owned(), url),
        None => {
            let number = (i - HOT_CHANNELS.len() as u64) as u32;
            if draws.below(10) > 0 {
                url.push_str("&channel_id=");
                url.push_str(&number.reverse_bits().cast_signed().unsigned_abs().to_string());
            }
            (format!("channel-{number}"), url)
        }
    }
}

/// Appends three to `most - 1` letters, one in thirteen of them `special`; blanks at its ends go. `most` is at most 100.
pub(super) fn word(out: &mut String, draws: &mut Draws, most: u64, special: char) {
    let mut letters = [0; 100];
    let length = 3 + draws.below(most - 3) as usize;
    for some in letters[..length].chunks_mut(6) {
        // A draw is good for six of them: it is read as a fraction, digit by digit to the base 13 * 26.
        let mut fraction = draws.next();
        for letter in some {
            let digit = u128::from(fraction) * 338;
            fraction = digit as u64;
            *letter = match (digit >> 64) as u16 {
                0..26 => special as u8,
                n => b'a' + (n % 26) as u8,
            };
        }
    }
    out.push_str(std::str::from_utf8(&letters[..length]).unwrap_or_default().trim_matches(' '));
}

fn pick<'a>(words: &[&'a str], draws: &mut Draws) -> &'a str {
    words.get(draws.below(words.len() as u64) as usize).copied().unwrap_or_default()
}

/// A first and a last name.
pub(super) fn name(out: &mut String, draw: u64) {
    let mut draws = Draws::new(draw);
    out.push_str(pick(&FIRST_NAMES, &mut draws));
    out.push(' ');
    out.push_str(pick(&LAST_NAMES, &mut draws));
}

/// An address such as `vwhg@kxz.com`.
pub(super) fn email(out: &mut String, draw: u64) {
    let mut draws = Draws::new(draw);
    word(out, &mut draws, 7, ' ');
    out.push('@');
    word(out, &mut draws, 5, ' ');
    out.push_str(".com");
}

/// Four times four digits.
pub(super) fn credit_card(out: &mut String, draw: u64) {
    let mut draws = Draws::new(draw);
    for i in 0..16 {
        if i > 0 && i % 4 == 0 {
            out.push(' ');
        }
        out.push(char::from(b'0' + draws.below(10) as u8));
    }
}

/// A city, not always in the state of the same person.
pub(super) fn city(draw: u64) -> &'static str {
    pick(&CITIES, &mut Draws::new(draw))
}

/// A state.
pub(super) fn state(draw: u64) -> &'static str {
    pick(&STATES, &mut Draws::new(draw))
}
