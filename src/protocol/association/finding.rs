//! What a check has found: a stable code, what was looked at, what is there, why that matters, how to mend it.

use std::fmt;

use crate::protocol::text::clean;

/// The longest text of a finding that comes from outside, in characters.
const MAX_TEXT: usize = 400;

/// How much a finding matters.
///
/// ```
/// use gatepass::association::Severity;
///
/// assert!(Severity::Good < Severity::Note && Severity::Warning < Severity::Error);
/// assert_eq!(Severity::Warning.name(), "warning");
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub enum Severity {
    /// As it should be.
    Good,
    /// Worth knowing. Nothing needs to be done.
    Note,
    /// Works for now or for some; somebody will stumble.
    Warning,
    /// The redirect does not reach the app, or the sign-in is refused.
    Error,
}

impl Severity {
    /// The stable name.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Good => "good",
            Self::Note => "note",
            Self::Warning => "warning",
            Self::Error => "error",
        }
    }
}

impl fmt::Display for Severity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// One thing that a check has found.
///
/// ```
/// use gatepass::RedirectUri;
/// use gatepass::association::{Association, Fetched};
///
/// let redirect = RedirectUri::parse("https://app.example.com/callback")?;
/// let association = Association::new(&redirect)?;
/// let page = Fetched::answer(200, [("content-type", "text/html")], *b"<!doctype html>");
/// let finding = &association.check_apple(&page)[0];
/// assert_eq!(finding.code(), "file_html");
/// assert!(!finding.why().is_empty() && !finding.remedy().is_empty());
/// # Ok::<(), gatepass::Error>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finding {
    check: Check,
    subject: String,
    found: String,
    remedy: Option<String>,
}

impl Finding {
    pub(crate) fn new(check: Check, subject: &str, found: impl AsRef<str>) -> Self {
        // What has nothing left that can be shown is there all the same.
        let shown = |text: &str| match clean(text, MAX_TEXT) {
            text if text.trim().is_empty() => "(nothing)".to_owned(),
            text => text,
        };
        Self {
            check,
            subject: shown(subject),
            found: shown(found.as_ref()),
            remedy: None,
        }
    }

    /// The same with a way to mend it that knows more than the general one.
    pub(crate) fn mending(mut self, remedy: impl AsRef<str>) -> Self {
        self.remedy = Some(clean(remedy.as_ref(), MAX_TEXT));
        self
    }

    pub(crate) fn check(&self) -> Check {
        self.check
    }

    /// The stable code, `snake_case`. The documentation of `gatepass doctor` lists them all.
    #[must_use]
    pub fn code(&self) -> &'static str {
        self.check.name()
    }

    /// How much it matters. The same for every finding of a code.
    #[must_use]
    pub fn severity(&self) -> Severity {
        self.check.severity()
    }

    /// What was looked at: a URL, a file, a place in it.
    #[must_use]
    pub fn subject(&self) -> &str {
        &self.subject
    }

    /// What is there. Text from outside in it is cut short, and without control characters.
    #[must_use]
    pub fn found(&self) -> &str {
        &self.found
    }

    /// Why it matters, in one sentence.
    #[must_use]
    pub fn why(&self) -> &'static str {
        self.check.why()
    }

    /// How to mend it. Empty where nothing needs to be done.
    #[must_use]
    pub fn remedy(&self) -> &str {
        self.remedy.as_deref().unwrap_or(self.check.remedy())
    }
}

/// Declares every check once: its code, severity, reason and remedy.
macro_rules! checks {
    ($($variant:ident $name:literal $severity:ident $why:literal $remedy:literal;)*) => {
        /// What can be found.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub(crate) enum Check { $($variant,)* }

        impl Check {
            #[cfg(test)]
            pub(crate) const ALL: &[Self] = &[$(Self::$variant,)*];

            pub(crate) fn name(self) -> &'static str {
                match self { $(Self::$variant => $name,)* }
            }

            pub(crate) fn severity(self) -> Severity {
                match self { $(Self::$variant => Severity::$severity,)* }
            }

            pub(crate) fn why(self) -> &'static str {
                match self { $(Self::$variant => $why,)* }
            }

            pub(crate) fn remedy(self) -> &'static str {
                match self { $(Self::$variant => $remedy,)* }
            }
        }
    };
}

checks! {
    // Any file that a host serves.
    FileUnreachable "file_unreachable" Error
        "What cannot be fetched here cannot be fetched by Apple and Google either, or only this machine is cut off."
        "Check the name, the address and the firewall of the host, and the network of this machine.";
    FileTls "file_tls" Error
        "Neither platform fetches the file over a connection whose certificate it does not trust."
        "Serve the host with a certificate of a public authority, with all intermediate certificates, for exactly this name.";
    FileTimeout "file_timeout" Error
        "A host that answers late is given up by both platforms, and the file counts as missing."
        "Serve the file as a static file, with no application behind it.";
    FileRedirect "file_redirect" Error
        "Neither platform follows a redirect for this file."
        "Answer with the file itself at this URL; exempt /.well-known/ from redirects to www, to another language or to a login.";
    FileStatus "file_status" Error
        "Only an answer with status 200 counts; any other is the same as no file."
        "Put the file at this URL, readable without a login: `gatepass association` prints it.";
    FileEmpty "file_empty" Error
        "An empty file names no app."
        "Put the file there that `gatepass association` prints.";
    FileHtml "file_html" Error
        "A web page in the place of the file means that the server answers every unknown path with its application."
        "Serve the file before the fall-back of the application applies, and with Content-Type: application/json.";
    FileTooLong "file_too_long" Error
        "Longer files are not read: Apple stops at 128 KB, and this check reads no more for Google either."
        "Leave out what other apps and old paths no longer need; use patterns in place of lists.";
    FileEncoded "file_encoded" Warning
        "It was compressed although the request forbade that, so a reader that does not decompress sees no JSON."
        "Honour `Accept-Encoding: identity` for this file.";
    FileEncoding "file_encoding" Error
        "JSON is UTF-8 (RFC 8259 §8.1); other encodings are not read."
        "Save the file as UTF-8, without a byte-order mark.";
    FileByteOrderMark "file_byte_order_mark" Warning
        "JSON must not begin with a byte-order mark (RFC 8259 §8.1), and some readers refuse such a file."
        "Save the file as UTF-8 without a byte-order mark.";
    FileNotJson "file_not_json" Error
        "A file with one mistake in its JSON is ignored as a whole."
        "Correct the place named, or use what `gatepass association` prints.";
    FileDuplicate "file_duplicate_name" Error
        "Of two members with one name some readers take the first and others the last (RFC 8259 §4)."
        "Merge the two into one.";

    // apple-app-site-association.
    AppleGood "aasa_good" Good
        "Apple's devices let this app take the redirect." "";
    AppleAppUnknown "aasa_app_unknown" Note
        "Without the App ID nobody can tell whether the file names this app."
        "Name it: --apple-app-id PREFIX.BUNDLE.ID.";
    AppleAtRoot "aasa_at_root" Error
        "Since iOS 14 the file is only looked for below /.well-known/."
        "Move the file to /.well-known/apple-app-site-association.";
    AppleContentType "aasa_content_type" Warning
        "Apple asks for application/json, and its network has dropped files of other types."
        "Serve the file with Content-Type: application/json; it has no extension that a server could tell that from.";
    AppleSigned "aasa_signed" Error
        "Signed files belong to iOS 8 and earlier; today plain JSON is read."
        "Serve the JSON itself, unsigned.";
    AppleNotObject "aasa_not_object" Error
        "The file is one JSON object with a member for each service; anything else names no app."
        "Use what `gatepass association` prints.";
    AppleMemberCase "aasa_member_case" Error
        "Names in JSON are compared letter by letter; one in other letters is not seen."
        "Write the name exactly so.";
    AppleWebcredentialsMissing "aasa_webcredentials_missing" Error
        "The system's sign-in window takes an https redirect only for an app listed under webcredentials; applinks does not do, and the failure looks like a user who cancelled."
        "Add the section webcredentials with the list apps: `gatepass association` prints it.";
    AppleWebcredentialsMalformed "aasa_webcredentials_malformed" Error
        "A section of another shape is ignored."
        "Write \"webcredentials\": { \"apps\": [\"PREFIX.BUNDLE.ID\"] }.";
    AppleWebcredentialsApp "aasa_webcredentials_app" Error
        "An app that is not listed under webcredentials is refused the https redirect, as if the user had cancelled."
        "Add the App ID to webcredentials.apps.";
    AppleAppIdCase "aasa_app_id_case" Error
        "App IDs are compared letter by letter."
        "Write the App ID exactly as in the provisioning profile.";
    AppleAppIdPrefix "aasa_app_id_prefix" Error
        "An App ID is the prefix, a dot and the bundle id; with another prefix, or none, it is another app."
        "Take the App ID from the provisioning profile (application-identifier); in old accounts the prefix is not the team id.";
    AppleAppIdForm "aasa_app_id_form" Warning
        "An entry of another form fits no app."
        "Write ten capitals and digits, a dot, the bundle id.";
    AppleAppIdWildcard "aasa_app_id_wildcard" Error
        "There are no wildcards in App IDs here."
        "List each App ID.";
    AppleApplinksMissing "aasa_applinks_missing" Warning
        "Without applinks no link opens the app: not the button of an interstitial page, not a link in a mail."
        "Add the section applinks: `gatepass association` prints it.";
    AppleApplinksMalformed "aasa_applinks_malformed" Error
        "A section of another shape is ignored."
        "Write \"applinks\": { \"details\": [ { \"appIDs\": […], \"components\": […] } ] }.";
    AppleApplinksApp "aasa_applinks_app" Warning
        "Links to this host do not open an app that applinks does not list."
        "Add the App ID to an entry of applinks.details.";
    AppleOldDetails "aasa_old_details" Warning
        "Details as an object are the form of iOS 8; newer systems promise to read the list only."
        "Make details a list of objects with appIDs and components.";
    AppleOldApps "aasa_old_apps" Warning
        "Systems before iOS 13 want applinks.apps to be an empty list, and ignore the section otherwise."
        "Make it [] or leave it out.";
    ApplePathUnmatched "aasa_path_unmatched" Warning
        "A link whose path no component fits stays in the browser."
        "Add the path to components.";
    ApplePathExcluded "aasa_path_excluded" Warning
        "The first component that fits decides, and this one keeps the link in the browser."
        "Put a component for the path before the one that excludes it.";
    AppleErrorUnmatched "aasa_error_unmatched" Warning
        "A redirect that carries an error has other parameters than one with a code, and must reach the app too."
        "Match the path only, and leave the query out.";
    AppleComponentsMissing "aasa_components_missing" Warning
        "An entry with neither components nor paths opens nothing."
        "Add components with the path of the redirect.";
    AppleComponentForm "aasa_component_form" Warning
        "A component of another form is ignored, or the whole entry with it."
        "Use the members /, ?, #, exclude, comment, caseSensitive and percentEncoded, each with its type.";
    ApplePathForm "aasa_path_form" Warning
        "A pattern for a path that does not begin with a slash or a wildcard fits no URL."
        "Begin it with /.";
    AppleVariable "aasa_variable" Warning
        "A substitution variable that is not declared fits nothing."
        "Declare it in applinks.substitutionVariables.";
    AppleTooComplicated "aasa_too_complicated" Warning
        "Patterns that take this many steps to compare could not be checked, and cost each device the same."
        "Use fewer wildcards and variables.";
    AppleEverything "aasa_everything" Note
        "The app takes every link of the host, also those that it has no page for."
        "List the paths that the app can show.";
    AppleCopyDiffers "aasa_copy_differs" Warning
        "Devices get Apple's copy, which is up to a day old; until then they see the former file."
        "Wait for a day; on a device of yours use ?mode=developer in the entitlement.";
    AppleCopyMissing "aasa_copy_missing" Warning
        "Devices ask Apple's network, not the host; without a copy there no device associates the app."
        "See that Apple's network can reach the host: no firewall by country, no login, no private address.";
    AppleCopyUnreachable "aasa_copy_unreachable" Note
        "Devices get Apple's copy; what it says could not be seen from here."
        "";
    AppleCopyGood "aasa_copy_good" Good
        "Devices get the same file as is on the host." "";

    // assetlinks.json.
    LinksGood "assetlinks_good" Good
        "Android lets this app take the redirect." "";
    LinksAppUnknown "assetlinks_app_unknown" Note
        "Without the package nobody can tell whether the file names this app."
        "Name it: --android-package and --fingerprint.";
    LinksContentType "assetlinks_content_type" Error
        "Google reads the file as application/json only."
        "Serve it with Content-Type: application/json.";
    LinksNotList "assetlinks_not_list" Error
        "The file is a JSON list of statements; anything else counts as an empty list."
        "Put the statements in [ ].";
    LinksStatementForm "assetlinks_statement_form" Warning
        "A statement of another form says nothing, and may cost those beside it."
        "Give it relation (a list) and target (an object with namespace, package_name and sha256_cert_fingerprints).";
    LinksMemberCase "assetlinks_member_case" Error
        "Names in JSON are compared letter by letter; one in other letters is not seen."
        "Write the name exactly so.";
    LinksPackageMissing "assetlinks_package_missing" Error
        "Without a statement about this package Android opens its links in the browser."
        "Add the statement that `gatepass association` prints.";
    LinksPackageCase "assetlinks_package_case" Error
        "Packages are compared letter by letter."
        "Write the application id exactly as in the build file.";
    LinksRelation "assetlinks_relation" Error
        "Only delegate_permission/common.handle_all_urls lets an app take links."
        "Add it to relation in the statement about this package.";
    LinksNamespace "assetlinks_namespace" Error
        "A statement about an app has the namespace android_app; with another it is about something else."
        "Write \"namespace\": \"android_app\".";
    LinksFingerprintForm "assetlinks_fingerprint_form" Error
        "A fingerprint is compared as text: 32 bytes in capital hexadecimal, with a colon between each."
        "Take it from `keytool -list -v` or from the Play Console, the line SHA-256.";
    LinksFingerprintMissing "assetlinks_fingerprint_missing" Error
        "The app on the device is signed with a certificate that the file does not list, so it is not this app to Android."
        "Add the SHA-256 fingerprint of the signing certificate; with Play App Signing that is Google's, from the Play Console.";
    LinksFingerprintPartly "assetlinks_fingerprint_partly" Warning
        "Builds signed with the certificate that is missing do not get the redirect: those you install yourself, or those from the store."
        "List both, the upload certificate and that of Play App Signing.";
    LinksFingerprintMore "assetlinks_fingerprint_more" Note
        "Every certificate listed may take the redirect; during a change of keys that is right, afterwards it is one key too many."
        "Remove those that no build in the field is signed with.";
    LinksFingerprintUnknown "assetlinks_fingerprint_unknown" Note
        "Without the fingerprint of the app nobody can tell whether the file lists it."
        "Name it: --fingerprint, as often as there are certificates.";
    LinksInclude "assetlinks_include" Warning
        "Android's check of app links reads the statements in the file, and follows no include."
        "Write the statement into this file.";
    LinksDynamicUnmatched "assetlinks_dynamic_unmatched" Warning
        "From Android 15 the dynamic rules are applied too, and a link that they exclude stays in the browser."
        "Put a rule for the path of the redirect first.";
    LinksRobots "assetlinks_robots" Warning
        "What robots.txt forbids, Google's servers may not fetch for the check either."
        "Allow /.well-known/assetlinks.json.";
    GoogleGood "assetlinks_google_good" Good
        "Google's servers, which devices ask, see the app." "";
    GoogleMissing "assetlinks_google_missing" Warning
        "Devices ask Google's servers, and to them the host does not name this app."
        "If the host's own file is good, see that Google can reach it, and wait until it looks again.";
    GoogleOlder "assetlinks_google_older" Warning
        "Google's servers still see the former file; until they look again, builds signed with the new certificate get no redirect."
        "Publish a new certificate first, and ship builds signed with it when this finding is gone.";
    GoogleUnreachable "assetlinks_google_unreachable" Note
        "Devices ask Google's servers; what those see at the host could not be seen from here."
        "";

    // The redirect URI.
    RedirectGood "redirect_good" Good
        "A claimed https redirect is the kind that RFC 8252 §7.2 prefers: no other app can take it." "";
    RedirectInvalid "redirect_invalid" Error
        "Gatepass refuses the redirect URI, and a server that compares strings would too."
        "Use what the message says, here and at the server.";
    RedirectPrivateUse "redirect_private_use" Warning
        "Any app can claim the scheme of another (RFC 8252 §8.6); only PKCE stands between it and the session."
        "Use a claimed https redirect where the system can.";
    RedirectLoopback "redirect_loopback" Note
        "A loopback redirect is for desktop programs; no association is needed for it."
        "";
    RedirectPort "redirect_port" Warning
        "Both platforms fetch their files from port 443, and associate the host without a port."
        "Serve the redirect on port 443.";
    RedirectHost "redirect_host" Error
        "Platforms associate an app with a public host name, never with an address."
        "Use a name that the public DNS knows.";
    RedirectSameHost "redirect_issuer_host" Note
        "Apple's systems open no universal link on the way from one page to another of the same host."
        "If links stay in the browser, give the redirect a host of its own, such as app.example.com.";
    RedirectRegistered "redirect_registered" Good
        "The server knows the redirect URI for this client." "";
    RedirectRefused "redirect_refused" Error
        "The server does not send the browser to this URI, so no sign-in can end."
        "Register exactly this redirect URI for this client at the server, as a public native client.";
    RedirectUnknown "redirect_unknown" Note
        "Whether the redirect is registered can only be seen by signing in at this server."
        "Try: gatepass sign-in --no-browser with the same options.";

    // The authorization server.
    ServerGood "server_good" Good
        "The server can sign users in, with every protection that Gatepass uses by default." "";
    ServerIssuerForm "server_issuer_form" Error
        "Without an issuer that is an https URL there is no server to ask."
        "Use the issuer exactly as its operator names it.";
    ServerUnreachable "server_unreachable" Error
        "Without its metadata no sign-in begins."
        "Check the issuer, and the network of this machine.";
    ServerTls "server_tls" Error
        "No sign-in goes over a connection whose certificate is not trusted (RFC 8414 §6.1)."
        "Serve a certificate of a trusted authority, with all intermediate certificates, for this name.";
    ServerNoMetadata "server_no_metadata" Error
        "The metadata is where the endpoints are found (RFC 8414 §3, OpenID Connect Discovery §4); without it no sign-in begins."
        "Check the issuer: exactly as its operator names it, with its path, without /.well-known/.";
    ServerMetadata "server_metadata" Error
        "Gatepass refuses these metadata, and with them every sign-in."
        "Mend the metadata at the server.";
    ServerIssuer "server_issuer" Error
        "Metadata of another issuer are not used, or one server could pose as another (RFC 8414 §3.3)."
        "Configure the issuer exactly as the server writes it.";
    ServerContentType "server_content_type" Warning
        "Metadata are application/json (RFC 8414 §3.2); clients may refuse other types."
        "Serve them with Content-Type: application/json.";
    ServerS256Silent "server_s256_silent" Warning
        "A server that does not list S256 may ignore PKCE, and then a stolen code is enough (RFC 9700 §2.1.1)."
        "List S256 in code_challenge_methods_supported, and require it for native clients.";
    ServerS256 "server_s256" Error
        "PKCE with the method plain does not protect the code (RFC 7636 §7.2); Gatepass uses S256 or nothing."
        "Offer S256.";
    ServerNoIss "server_no_iss" Warning
        "Without iss in the redirect an app with several servers can be made to send one server's code to another (RFC 9207)."
        "Switch on authorization_response_iss_parameter_supported.";
    ServerNoPar "server_no_par" Note
        "Without pushed requests (RFC 9126) anybody who sees the browser's address can read and change what is asked for."
        "Offer a pushed_authorization_request_endpoint.";
    ServerNoPublicClients "server_no_public_clients" Warning
        "An app cannot keep a secret, so a server that lists no client authentication `none` may refuse its code."
        "Allow token_endpoint_auth_methods none for native clients, and list it.";
    ServerNoRefresh "server_no_refresh" Warning
        "Without refresh tokens the user signs in again each time the access token expires."
        "List refresh_token in grant_types_supported.";
    ServerNoOfflineAccess "server_no_offline_access" Note
        "The scope offline_access is how OpenID Connect asks for refresh tokens; this server does not list it."
        "If no refresh token comes, see what the server wants for one.";
    ServerAlgorithms "server_algorithms" Error
        "ID tokens signed only in these ways cannot be verified by an app."
        "Sign ID tokens with RS256, PS256 or ES256.";
    ServerAlgorithmsWeak "server_algorithms_weak" Warning
        "`none` is no signature, and HS256 would need a secret that an app cannot keep."
        "Take them off id_token_signing_alg_values_supported.";
    ServerNoKeys "server_no_keys" Error
        "Without jwks_uri no ID token can be verified."
        "Publish the keys, and name them in jwks_uri.";
    ServerNoRevocation "server_no_revocation" Note
        "Signing out cannot end the grant at the server (RFC 7009)."
        "Offer a revocation_endpoint.";
    ServerClock "server_clock" Warning
        "The clock of the server or of this machine is wrong; Gatepass learns the difference, other clients refuse its tokens."
        "Set both by NTP.";

    // The interstitial page.
    PageGood "interstitial_good" Good
        "A browser that does not open the app shows the page, and the page keeps the code to itself." "";
    PageMissing "interstitial_missing" Warning
        "A user whose browser does not open the app ends at an error page of the host."
        "Serve the page that `gatepass interstitial` prints at the redirect.";
    PagePolicy "interstitial_policy" Warning
        "Whatever else runs in the page can read the code."
        "Send the Content-Security-Policy that `gatepass interstitial --headers` prints.";
    PageReferrer "interstitial_referrer" Warning
        "Without Referrer-Policy: no-referrer the address with the code may reach the next page."
        "Send the header Referrer-Policy: no-referrer.";
    PageCache "interstitial_cache" Warning
        "A cache keeps the page together with the address that it was asked by, code included."
        "Send the header Cache-Control: no-store.";
    PageForeign "interstitial_foreign" Error
        "A script, image or style from elsewhere gets the address of the page, or the code itself."
        "Serve the page as `gatepass interstitial` prints it, with nothing added.";

    // Files of the app.
    AppFileUnreadable "app_file_unreadable" Error
        "What cannot be read cannot be checked."
        "Name an AndroidManifest.xml, an APK, an AAR, an AAB, an IPA, entitlements or an Info.plist, as the build made it.";
    ManifestGood "manifest_good" Good
        "The app is told to Android as the handler of the redirect." "";
    ManifestPackage "manifest_package" Warning
        "The statement in assetlinks.json is about an application id; a build with another one is another app."
        "Name each build variant's id in assetlinks.json, or check the variant that ships.";
    ManifestFilterMissing "manifest_filter_missing" Error
        "Where the browser has no Auth Tab the redirect comes as an intent, and without a filter for it no activity is started."
        "Add an intent filter for the redirect to the activity that takes it.";
    ManifestFilterIncomplete "manifest_filter_incomplete" Error
        "A link reaches only filters with the action VIEW and the categories DEFAULT and BROWSABLE."
        "Add what is missing to the filter.";
    ManifestAutoVerify "manifest_auto_verify" Error
        "From Android 12 a link of a host that was not verified opens the browser, and only autoVerify has it verified."
        "Write android:autoVerify=\"true\" at the intent filter.";
    ManifestPath "manifest_path" Error
        "The filter takes links of this host, and not the path of the redirect."
        "Write android:path with the path of the redirect.";
    ManifestExported "manifest_exported" Error
        "From Android 12 an activity with an intent filter must say whether others may start it, and the browser is another."
        "Write android:exported=\"true\" at the activity.";
    ManifestSchemes "manifest_schemes" Warning
        "A filter to be verified that takes other schemes beside http and https may not be verified at all."
        "Give the other schemes a filter of their own.";
    ManifestLaunchMode "manifest_launch_mode" Warning
        "With the standard launch mode the redirect opens a second copy of the activity, and the first goes on waiting."
        "Write android:launchMode=\"singleTask\" or \"singleTop\" at the activity.";
    ManifestQueries "manifest_queries" Warning
        "From Android 11 an app sees only browsers that it names in queries, so none with Custom Tabs is found."
        "Add an intent with the action android.support.customtabs.action.CustomTabsService to queries.";
    ManifestBackup "manifest_backup" Note
        "Android leaves out what Gatepass stores by itself; tools that copy all of an app's data go by its rules, and the copy is of no use without its key."
        "Name @xml/gatepass_data_extraction_rules in android:dataExtractionRules and @xml/gatepass_backup_rules in fullBackupContent, or write android:allowBackup=\"false\".";
    ManifestInternet "manifest_internet" Error
        "Without the permission INTERNET the app reaches no server."
        "Add <uses-permission android:name=\"android.permission.INTERNET\"/>.";
    ManifestPlaceholder "manifest_placeholder" Note
        "What the build fills in cannot be seen in the source."
        "Check the APK.";
    BackupRulesGood "backup_rules_good" Good
        "No backup brings a session to another device." "";
    BackupRulesIncomplete "backup_rules_incomplete" Note
        "Android leaves out what Gatepass stores by itself; tools that copy all of an app's data go by these rules, and the copy is of no use without its key."
        "Exclude the path no_backup/gatepass of the domain root, in each section.";
    BackupRulesUnseen "backup_rules_unseen" Note
        "The app has rules for backups, and what they say could not be seen here."
        "Check the APK or the app bundle, or the manifest where it stands beside res/xml.";
    EntitlementsGood "entitlements_good" Good
        "The app claims the host of the redirect." "";
    EntitlementsDomainsMissing "entitlements_domains_missing" Error
        "Without associated domains the system's sign-in window refuses the https redirect, as if the user had cancelled."
        "Add the capability Associated Domains, with webcredentials and applinks for the host.";
    EntitlementsDomainForm "entitlements_domain_form" Error
        "An entry is a service, a colon and a host; one with a scheme or a path is ignored."
        "Write webcredentials:HOST and applinks:HOST.";
    EntitlementsWebcredentials "entitlements_webcredentials" Error
        "The system's sign-in window takes an https redirect only for a host under webcredentials."
        "Add webcredentials:HOST to com.apple.developer.associated-domains.";
    EntitlementsApplinks "entitlements_applinks" Warning
        "Without applinks no link of the host opens the app: not the button of an interstitial page, not a link in a mail."
        "Add applinks:HOST to com.apple.developer.associated-domains.";
    EntitlementsDeveloperMode "entitlements_developer_mode" Warning
        "With ?mode=developer the association holds on devices in developer mode only."
        "Take ?mode=developer off for what ships.";
    EntitlementsAppId "entitlements_app_id" Error
        "The host names one App ID, and this build has another."
        "Name the App ID of this build in apple-app-site-association.";
    EntitlementsKeychain "entitlements_keychain_group" Note
        "Without a keychain group extensions and widgets cannot share the session of the app."
        "Add keychain-access-groups if they should.";
    EntitlementsKeychainForm "entitlements_keychain_form" Error
        "A keychain group belongs to a team; one without its prefix is not given to the app, and the session is not found."
        "Write $(AppIdentifierPrefix) and the name of the group.";
    EntitlementsKeychainMissing "entitlements_keychain_missing" Error
        "A session kept in a keychain group that the app does not have cannot be read or written."
        "Add the group to keychain-access-groups of the app and of each extension that shares the session.";
    InfoPlistGood "info_plist_good" Good
        "Nothing in it stands in the way." "";
    InfoPlistScheme "info_plist_scheme" Error
        "The schemes http and https belong to the browser; no app gets them by CFBundleURLSchemes."
        "Remove it, and use associated domains.";
    InfoPlistBundle "info_plist_bundle_id" Error
        "The host names an app with another bundle id."
        "Name the App ID of this build in apple-app-site-association.";
}

impl Check {
    /// How it stands in the documentation.
    #[cfg(test)]
    pub(crate) fn row(self) -> String {
        let (name, severity, why, remedy) = (self.name(), self.severity(), self.why(), self.remedy());
        format!("| `{name}` | {severity} | {why} | {remedy} |").replace("  |", " |")
    }
}
