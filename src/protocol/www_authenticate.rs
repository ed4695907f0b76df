//! Challenges (RFC 9110 §11.6.1, RFC 6750 §3): what an API says in `WWW-Authenticate` when it turns a request down.
//!
//! One header can hold several challenges, and commas stand between challenges as well as between the parameters of
//! one. A challenge that cannot be read is left out; those beside it are read all the same.

use std::fmt;

use ::http::{HeaderMap, header};

use super::callback::https_only;
use super::text;

/// The longest header line that is looked at.
const MAX_LINE_BYTES: usize = 16 * 1024;
/// The most challenges that are read, over all lines.
const MAX_CHALLENGES: usize = 32;
/// The most parameters that one challenge may have.
const MAX_PARAMETERS: usize = 64;
/// The errors of RFC 6750 §3.1 and RFC 9470 §3.
const KNOWN_ERRORS: [&str; 4] = [
    "invalid_request",
    "invalid_token",
    "insufficient_scope",
    "insufficient_user_authentication",
];
/// The most authentication contexts that are listed.
const MAX_ACR_VALUES: usize = 32;

/// One challenge of a `WWW-Authenticate` header: how an API wants to be asked, or why it refused.
///
/// All of it is what the API sent: untrusted text. The accessors cut it to a bounded length and take control characters
/// out, so that it can be shown as plain text and logged.
///
/// ```
/// use gatepass::Challenge;
///
/// let challenges = Challenge::parse(r#"Basic realm="a, b", Bearer error="insufficient_scope", scope="mail.read""#);
/// let bearer = challenges.iter().find(|challenge| challenge.is("bearer")).unwrap();
/// assert_eq!(bearer.error().as_deref(), Some("insufficient_scope"));
/// assert_eq!(bearer.scope(), ["mail.read"]);
/// ```
#[derive(Clone, PartialEq, Eq)]
pub struct Challenge {
    scheme: String,
    token68: Option<String>,
    pub(crate) parameters: Vec<(String, String)>,
}

impl Challenge {
    /// The challenges of one header value that are well-formed, in their order. Takes any text, and finds nothing in
    /// one longer than 16 KiB.
    #[must_use]
    pub fn parse(value: &str) -> Vec<Self> {
        let mut found = Vec::new();
        Reader::read(value.as_bytes(), &mut found);
        found
    }

    /// Those of all `WWW-Authenticate` headers of an answer.
    pub(crate) fn of(headers: &HeaderMap) -> Vec<Self> {
        let mut found = Vec::new();
        for value in headers.get_all(header::WWW_AUTHENTICATE) {
            Reader::read(value.as_bytes(), &mut found);
        }
        found
    }

    /// The scheme as sent, such as `Bearer`. Compare it with [`is`](Self::is).
    #[must_use]
    pub fn scheme(&self) -> &str {
        &self.scheme
    }

    /// Whether it is of this scheme, in any case of letters (RFC 9110 §11.1).
    #[must_use]
    pub fn is(&self, scheme: &str) -> bool {
        self.scheme.eq_ignore_ascii_case(scheme)
    }

    /// Why the request was refused, such as `invalid_token` (RFC 6750 §3.1). `None` if the API saw no credentials.
    #[must_use]
    pub fn error(&self) -> Option<String> {
        self.shown("error", 128)
    }

    /// The same in words, for developers.
    #[must_use]
    pub fn error_description(&self) -> Option<String> {
        self.shown("error_description", 512)
    }

    /// A page about the error, only if it is an https URL.
    #[must_use]
    pub fn error_uri(&self) -> Option<String> {
        self.parameter("error_uri").and_then(https_only)
    }

    /// The scope that the request needs, token by token; empty if the API does not say.
    #[must_use]
    pub fn scope(&self) -> Vec<String> {
        let scope = self.parameter("scope").unwrap_or_default();
        let scope = super::scope::Scope::from_response(scope);
        scope.tokens().map(str::to_owned).collect()
    }

    /// The space that the credentials are for. May be absent (RFC 6750 §3).
    #[must_use]
    pub fn realm(&self) -> Option<String> {
        self.shown("realm", 256)
    }

    /// Where the API describes itself (RFC 9728 §5.1), only if it is an https URL. With any scheme.
    #[must_use]
    pub fn resource_metadata(&self) -> Option<String> {
        self.parameter("resource_metadata").and_then(https_only)
    }

    /// The authentication contexts that would do, best first (RFC 9470 §3); at most 32.
    #[must_use]
    pub fn acr_values(&self) -> Vec<String> {
        let values = self.parameter("acr_values").unwrap_or_default();
        values
            .split(' ')
            .filter(|value| !value.is_empty())
            .map(|value| text::clean(value, 256))
            .take(MAX_ACR_VALUES)
            .collect()
    }

    /// The oldest acceptable authentication, in seconds (RFC 9470 §3); `None` if the API does not say, or not in
    /// digits.
    #[must_use]
    pub fn max_age(&self) -> Option<u32> {
        let digits = self.parameter("max_age")?;
        digits
            .bytes()
            .all(|b| b.is_ascii_digit())
            .then(|| digits.parse().ok())
            .flatten()
    }

    /// Any parameter, by its name in any case of letters (RFC 9110 §11.2), as sent: not cut and not cleaned.
    #[must_use]
    pub fn parameter(&self, name: &str) -> Option<&str> {
        self.parameters
            .iter()
            .find(|(known, _)| known.eq_ignore_ascii_case(name))
            .map(|(_, value)| value.as_str())
            .filter(|value| !value.is_empty())
    }

    /// The data of schemes that have no parameters, such as `Negotiate`, as sent.
    #[must_use]
    pub fn token68(&self) -> Option<&str> {
        self.token68.as_deref()
    }

    fn shown(&self, name: &str, max: usize) -> Option<String> {
        self.parameter(name).map(|value| text::clean(value, max))
    }
}

impl fmt::Debug for Challenge {
    /// The scheme, the names of the parameters, and an error that has a meaning. An API may quote the token it was sent in
    /// any other text.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let names: Vec<&str> = self.parameters.iter().map(|(name, _)| name.as_str()).collect();
        f.debug_struct("Challenge")
            .field("scheme", &self.scheme)
            .field(
                "error",
                &self
                    .parameter("error")
                    .filter(|error| KNOWN_ERRORS.contains(error)),
            )
            .field("parameters", &names)
            .finish_non_exhaustive()
    }
}

/// A position in one header line.
struct Reader<'a> {
    rest: &'a [u8],
}

/// The challenge being read.
struct Draft {
    challenge: Challenge,
    good: bool,
}

impl Reader<'_> {
    fn read(line: &[u8], found: &mut Vec<Challenge>) {
        if line.len() > MAX_LINE_BYTES {
            return;
        }
        let mut reader = Reader { rest: line };
        let mut draft: Option<Draft> = None;
        loop {
            let comma = reader.skip(b" \t,").contains(&b',');
            if reader.rest.is_empty() {
                break;
            }
            let Some(name) = reader.token() else {
                spoil(&mut draft);
                reader.skip_item();
                continue;
            };
            let after = reader.rest;
            reader.skip(b" \t");
            if reader.take(b'=') {
                reader.skip(b" \t");
                let value = reader.value().filter(|_| reader.item_ends());
                match (&mut draft, value) {
                    (Some(draft), Some(value)) => draft.add(name, value),
                    _ => {
                        spoil(&mut draft);
                        reader.skip_item();
                    }
                }
                continue;
            }
            // Not followed by `=`: a scheme, which begins another challenge. Only a comma ends the one before.
            reader.rest = after;
            if !comma {
                spoil(&mut draft);
            }
            finish(draft.take(), found);
            let mut next = Draft {
                challenge: Challenge {
                    scheme: name,
                    token68: None,
                    parameters: Vec::new(),
                },
                good: true,
            };
            if reader.take(b' ') {
                reader.skip(b" ");
                next.challenge.token68 = reader.token68();
            } else if !reader.item_ends() {
                next.good = false;
                reader.skip_item();
            }
            draft = Some(next);
        }
        finish(draft, found);
    }

    fn first(&self) -> Option<u8> {
        self.rest.first().copied()
    }

    fn skip(&mut self, bytes: &[u8]) -> &[u8] {
        self.take_while(|b| bytes.contains(&b))
    }

    fn take(&mut self, byte: u8) -> bool {
        let rest = self.rest.strip_prefix(&[byte]);
        self.rest = rest.unwrap_or(self.rest);
        rest.is_some()
    }

    fn take_while(&mut self, fits: impl Fn(u8) -> bool) -> &[u8] {
        let end = self
            .rest
            .iter()
            .position(|b| !fits(*b))
            .unwrap_or(self.rest.len());
        let (taken, rest) = self.rest.split_at(end);
        self.rest = rest;
        taken
    }

    /// `token` (RFC 9110 §5.6.2).
    fn token(&mut self) -> Option<String> {
        let taken = self.take_while(is_tchar);
        (!taken.is_empty()).then(|| String::from_utf8_lossy(taken).into_owned())
    }

    /// `token68` (RFC 9110 §11.2), if that is all there is up to the next comma.
    fn token68(&mut self) -> Option<String> {
        let before = self.rest;
        let text = self
            .take_while(|b| b.is_ascii_alphanumeric() || b"-._~+/".contains(&b))
            .to_vec();
        let padding = self.take_while(|b| b == b'=').len();
        if text.is_empty() || !self.item_ends() {
            self.rest = before;
            return None;
        }
        let mut text = String::from_utf8_lossy(&text).into_owned();
        text.extend(std::iter::repeat_n('=', padding));
        Some(text)
    }

    /// `token` or `quoted-string`.
    fn value(&mut self) -> Option<String> {
        if !self.take(b'"') {
            return self.token();
        }
        let mut bytes = Vec::new();
        loop {
            let (first, rest) = self.rest.split_first()?;
            self.rest = rest;
            match first {
                b'"' => return Some(String::from_utf8_lossy(&bytes).into_owned()),
                b'\\' => {
                    let (escaped, rest) = self.rest.split_first()?;
                    self.rest = rest;
                    bytes.push(*escaped);
                }
                other => bytes.push(*other),
            }
        }
    }

    /// Whether nothing but white space comes before the next comma. Takes the white space.
    fn item_ends(&mut self) -> bool {
        self.skip(b" \t");
        matches!(self.first(), None | Some(b','))
    }

    /// Goes to the next comma that is not within quotes.
    fn skip_item(&mut self) {
        loop {
            self.take_while(|b| b != b',' && b != b'"');
            if self.first() != Some(b'"') || self.value().is_none() {
                return;
            }
        }
    }
}

impl Draft {
    /// A parameter that comes twice, or beside data that stands alone, makes the challenge malformed (RFC 9110 §11.2,
    /// RFC 6750 §3).
    fn add(&mut self, name: String, value: String) {
        let challenge = &mut self.challenge;
        let repeated = challenge
            .parameters
            .iter()
            .any(|(known, _)| known.eq_ignore_ascii_case(&name));
        if repeated || challenge.token68.is_some() || challenge.parameters.len() >= MAX_PARAMETERS {
            self.good = false;
            return;
        }
        challenge.parameters.push((name, value));
    }
}

fn spoil(draft: &mut Option<Draft>) {
    if let Some(draft) = draft {
        draft.good = false;
    }
}

fn finish(draft: Option<Draft>, found: &mut Vec<Challenge>) {
    if let Some(draft) = draft
        && draft.good
        && found.len() < MAX_CHALLENGES
    {
        found.push(draft.challenge);
    }
}

fn is_tchar(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Each challenge as `scheme token68 name=value…`, apart by `; `.
    fn read(value: &str) -> String {
        let each = Challenge::parse(value).into_iter().map(|challenge| {
            let mut text = challenge.scheme.clone();
            if let Some(token68) = &challenge.token68 {
                text += &format!(" <{token68}>");
            }
            for (name, value) in &challenge.parameters {
                text += &format!(" {name}={value}");
            }
            text
        });
        each.collect::<Vec<_>>().join("; ")
    }

    #[test]
    fn bt_04_challenges_in_all_their_forms() {
        for (value, expected) in [
            (r#"Bearer"#, "Bearer"),
            (r#"Bearer realm="example""#, "Bearer realm=example"),
            (
                r#"Basic realm="a, Bearer", Bearer error="invalid_token""#,
                "Basic realm=a, Bearer; Bearer error=invalid_token",
            ),
            // RFC 9110 §11.6.1, its example of two challenges.
            (
                r#"Basic realm="simple", Newauth realm="apps", type=1, title="Login to \"apps\"""#,
                r#"Basic realm=simple; Newauth realm=apps type=1 title=Login to "apps""#,
            ),
            ("bEaReR error=invalid_token", "bEaReR error=invalid_token"),
            (
                "Bearer error = \"a\" ,\tscope\t=\t\"b c\"",
                "Bearer error=a scope=b c",
            ),
            ("Negotiate, Bearer", "Negotiate; Bearer"),
            (
                "Negotiate YWJj/+==, Bearer x=1",
                "Negotiate <YWJj/+==>; Bearer x=1",
            ),
            ("Negotiate abc", "Negotiate <abc>"),
            ("Bearer a=, Basic", "Bearer <a=>; Basic"), // by the grammar, data with padding
            (",, ,Bearer a=1,,b=2, ,Basic,", "Bearer a=1 b=2; Basic"),
            (r#"Bearer a="\\\"x\y""#, r#"Bearer a=\"xy"#),
            (r#"Bearer a="""#, "Bearer a="),
            ("Bearer   a=1", "Bearer a=1"),
            (
                "DPoP algs=\"ES256 PS256\", error=\"use_dpop_nonce\"",
                "DPoP algs=ES256 PS256 error=use_dpop_nonce",
            ),
            ("A, B, C", "A; B; C"),
            ("Bearer realm=\"gr\u{f6}\u{df}e\"", "Bearer realm=gr\u{f6}\u{df}e"),
        ] {
            assert_eq!(read(value), expected, "{value}");
        }
    }

    #[test]
    fn bt_04_several_headers() {
        let mut headers = HeaderMap::new();
        for value in ["Basic realm=\"x\"", "Bearer error=\"invalid_token\", Negotiate"] {
            headers.append(header::WWW_AUTHENTICATE, value.parse().unwrap());
        }
        let schemes: Vec<_> = Challenge::of(&headers).into_iter().map(|c| c.scheme).collect();
        assert_eq!(schemes, ["Basic", "Bearer", "Negotiate"]);
        assert!(Challenge::of(&HeaderMap::new()).is_empty());
    }

    #[test]
    fn bt_05_bi_85_a_repeated_parameter_makes_its_challenge_malformed() {
        for name in [
            "error",
            "scope",
            "error_description",
            "error_uri",
            "realm",
            "other",
        ] {
            let value = format!(
                "Bearer {name}=\"a\", {}=\"a\", Basic realm=x",
                name.to_uppercase()
            );
            assert_eq!(read(&value), "Basic realm=x", "{value}");
        }
    }

    #[test]
    fn bi_85_what_is_malformed_is_left_out_and_the_rest_is_read() {
        for (value, expected) in [
            ("", ""),
            ("   ", ""),
            (",", ""),
            ("=", ""),
            ("a=1", ""),
            ("realm=\"no scheme\", Bearer x=1", "Bearer x=1"),
            ("Bearer a=\"unterminated", ""),
            ("Basic, Bearer a=\"unterminated, Digest", "Basic"),
            ("Bearer a=\"ends in an escape\\", ""),
            ("Bearer x=1, a=, Basic", "Basic"),
            ("Bearer a=1 b=2, Basic", "Basic"),
            ("Bearer a=\"1\"x, b=2, Basic", "Basic"),
            ("Bearer a=\"1\" \"2, Digest\" , Basic", "Basic"),
            ("Bearer (a), Basic x=1", "Basic x=1"),
            ("Bear(er, Basic x=1", "Basic x=1"),
            ("\"Bearer\", Basic x=1", "Basic x=1"),
            ("Negotiate abc, a=1, Basic x=1", "Basic x=1"),
            ("Negotiate ab(c, Basic x=1", "Basic x=1"),
            ("Digest Bearer error=x, Basic", "Bearer error=x; Basic"),
            ("@@@@", ""),
        ] {
            assert_eq!(read(value), expected, "{value}");
        }
    }

    #[test]
    fn bi_85_limits() {
        assert_eq!(read(&format!("Bearer a=\"{}\"", "x".repeat(MAX_LINE_BYTES))), "");
        assert_eq!(Challenge::parse(&"A,".repeat(8_000)).len(), MAX_CHALLENGES);
        let many = |count: usize| {
            (0..count)
                .map(|n| format!("p{n}=1"))
                .collect::<Vec<_>>()
                .join(",")
        };
        assert_eq!(
            Challenge::parse(&format!("Bearer {}", many(MAX_PARAMETERS))).len(),
            1
        );
        assert_eq!(read(&format!("Bearer {}", many(MAX_PARAMETERS + 1))), "");
    }

    #[test]
    fn oa_41_any_bytes_are_read_without_panic() {
        let alphabet = b"aB=\"\\, \t,;()/+\xff\x80=\"";
        let mut seed = 0x5eed_u64;
        for _ in 0..20_000 {
            let line: Vec<u8> = (0..24)
                .map(|_| {
                    seed ^= seed << 13;
                    seed ^= seed >> 7;
                    seed ^= seed << 17;
                    alphabet[usize::try_from(seed % alphabet.len() as u64).unwrap()]
                })
                .collect();
            let mut found = Vec::new();
            Reader::read(&line, &mut found);
            for challenge in &found {
                assert!(!challenge.scheme.is_empty());
            }
        }
    }

    #[test]
    fn bt_06_bt_08_pr_06_what_a_challenge_says() {
        let [challenge] = Challenge::parse(
            "Bearer error=\"insufficient_scope\", error_description=\"a\u{202e}b\", error_uri=\"https://api.example/e\", scope=\"mail.read mail.send \\\"bad\\\"\", resource_metadata=\"https://api.example/.well-known/oauth-protected-resource\", unknown=1",
        )
        .try_into()
        .unwrap();
        assert!(challenge.is("BEARER") && !challenge.is("DPoP"));
        assert_eq!(challenge.error().as_deref(), Some("insufficient_scope"));
        assert_eq!(
            challenge.error_description().as_deref(),
            Some("ab"),
            "fit to be shown"
        );
        assert_eq!(challenge.error_uri().as_deref(), Some("https://api.example/e"));
        assert_eq!(challenge.scope(), ["mail.read", "mail.send"]);
        assert_eq!(challenge.realm(), None);
        assert_eq!(
            challenge.resource_metadata().as_deref(),
            Some("https://api.example/.well-known/oauth-protected-resource")
        );
        assert_eq!(challenge.parameter("UNKNOWN"), Some("1"));
        let odd = Challenge::parse(
            "X error_uri=\"javascript:alert(1)\", resource_metadata=\"http://a/\", error=\"\"",
        );
        assert_eq!(odd[0].error_uri(), None);
        assert_eq!(odd[0].resource_metadata(), None);
        assert_eq!(odd[0].error(), None, "an empty value is none");
    }

    #[test]
    fn bi_93_step_up_values_are_bounded() {
        let of = |value: &str| Challenge::parse(value).remove(0);
        assert_eq!(of("Bearer max_age=\"60\"").max_age(), Some(60));
        for bad in ["-1", "x", "99999999999", "", "+1"] {
            assert_eq!(of(&format!("Bearer max_age=\"{bad}\"")).max_age(), None, "{bad}");
        }
        let many = format!("Bearer acr_values=\"{}\"", "a ".repeat(5_000));
        assert_eq!(of(&many).acr_values().len(), MAX_ACR_VALUES);
        assert_eq!(
            of("Bearer acr_values=\"urn:a  urn:b\"").acr_values(),
            ["urn:a", "urn:b"]
        );
    }

    #[test]
    fn data_of_a_scheme_does_not_print() {
        let challenge = Challenge::parse("Negotiate c2VjcmV0").remove(0);
        assert_eq!(challenge.token68(), Some("c2VjcmV0"));
        assert!(!format!("{challenge:?}").contains("c2VjcmV0"));
        let challenge = Challenge::parse(
            r#"Bearer realm="t0k", error="invalid_token", scope="t0k", error_description="t0k""#,
        );
        let printed = format!("{challenge:?}");
        assert!(
            printed.contains("invalid_token") && !printed.contains("t0k"),
            "{printed}"
        );
    }
}
