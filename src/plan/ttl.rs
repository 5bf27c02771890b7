//! State time-to-live.

/// What a bound says of a time-to-live in milliseconds: `, state TTL 1h 30m`.
pub(super) fn shown(ttl: Option<i64>) -> String {
    let Some(millis) = ttl else { return String::new() };
    let (mut rest, mut parts) = (millis, Vec::new());
    for (unit, length) in [("d", 86_400_000), ("h", 3_600_000), ("min", 60_000), ("s", 1000), ("ms", 1)] {
        if rest / length > 0 {
            parts.push(format!("{} {unit}", rest / length));
            rest %= length;
        }
    }
    format!(", state TTL {}", parts.join(" "))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spans_are_shown_in_their_units() {
        assert_eq!(shown(None), "");
        assert_eq!(shown(Some(5_400_000)), ", state TTL 1 h 30 min");
        assert_eq!(shown(Some(86_400_001)), ", state TTL 1 d 1 ms");
    }
}
