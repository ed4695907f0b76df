//! Text that a server or a redirect sent, made fit to be shown or logged.

/// Removes what could forge a log line or turn the reading direction around, and cuts at `max` characters.
///
/// RFC 6749 §4.1.2.1 and appendices A.7–A.9 allow printable ASCII only. Servers do send other letters in
/// descriptions, so those stay; controls, line breaks and bidirectional overrides do not.
pub(crate) fn clean(text: &str, max: usize) -> String {
    text.chars()
        .filter(|c| !c.is_control() && !is_bidi_control(*c))
        .take(max)
        .collect()
}

fn is_bidi_control(c: char) -> bool {
    matches!(c, '\u{061c}' | '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}

/// Whether every character is `VSCHAR`, and there is at least one (RFC 6749 appendix A).
pub(crate) fn is_vschar(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|b| (0x20..=0x7e).contains(&b))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn oa_20_bi_22_23_controls_and_bidi_are_removed() {
        assert_eq!(clean("a\r\nb\0c\u{202e}d\u{2066}e", 99), "abcde");
        assert_eq!(clean("<script>", 99), "<script>");
        assert_eq!(clean("abcdef", 3), "abc");
        assert_eq!(clean("größe", 99), "größe");
    }

    #[test]
    fn oa_42_vschar() {
        assert!(is_vschar("a b~"));
        for bad in ["", "a\n", "\u{7f}", "é"] {
            assert!(!is_vschar(bad), "{bad:?}");
        }
    }
}
