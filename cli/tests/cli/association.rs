//! `association`: the files it writes, and that `doctor` approves of them.

use crate::doctor_android::{PACKAGE, print};
use crate::doctor_apple::APP;
use crate::hosts::{Reply, Web};
use crate::support::{World, stderr, stdout};

#[test]
fn what_it_prints_the_doctor_approves_of() {
    for path in ["/", "/callback", "/oauth/callback/", "/a*b/$(c)/~d;e=f,g"] {
        let web = Web::new();
        let redirect = format!("https://app.example.com{path}");
        let (play, upload) = (print("A1"), "b2".repeat(32));
        let app = [
            "--redirect",
            &redirect,
            "--apple-app-id",
            APP,
            "--apple-app-id",
            "ABCDE12345.com.example.beta",
            "--android-package",
            PACKAGE,
            "--fingerprint",
            &play,
            "--fingerprint",
            &upload,
        ];
        for (only, name) in [
            ("apple", "apple-app-site-association"),
            ("android", "assetlinks.json"),
        ] {
            let output = web
                .command(&[&["association", "--only", only], &app[..]].concat())
                .output()
                .unwrap();
            assert_eq!(output.status.code(), Some(0), "{}", stderr(&output));
            web.at(
                &format!("https://app.example.com/.well-known/{name}"),
                Reply::json(output.stdout),
            );
        }
        let diagnosis = web.doctor(&[&["--no-apple-copy", "--no-google-view"], &app[..]].concat());
        // Only a redirect to the root of the host has a pattern that fits nothing else.
        assert_eq!(
            (diagnosis.codes(), diagnosis.exit),
            (vec![], Some(0)),
            "{path}: {diagnosis:?}"
        );
        for code in ["redirect_good", "aasa_good", "assetlinks_good"] {
            diagnosis.finding(code);
        }
    }
}

#[test]
fn both_files_are_told_or_written_where_they_belong() {
    let world = World::new();
    let fingerprint = print("A1");
    let app = [
        "association",
        "--redirect",
        "https://app.example.com/cb",
        "--apple-app-id",
        APP,
        "--android-package",
        PACKAGE,
        "--fingerprint",
        &fingerprint,
    ];
    let event = world.one(&app);
    let files = event["files"].as_array().unwrap();
    let urls: Vec<_> = files.iter().map(|file| file["url"].as_str().unwrap()).collect();
    assert_eq!(
        urls,
        [
            "https://app.example.com/.well-known/apple-app-site-association",
            "https://app.example.com/.well-known/assetlinks.json",
        ]
    );
    let text = stdout(&world.expect(0, &app));
    assert!(urls.iter().all(|url| text.contains(url)));
    let root = world.path("public");
    world.expect(0, &[&app[..], &["--directory", root.to_str().unwrap()]].concat());
    for file in files {
        let path = file["url"]
            .as_str()
            .unwrap()
            .strip_prefix("https://app.example.com/")
            .unwrap();
        assert_eq!(
            std::fs::read_to_string(root.join(path)).unwrap(),
            file["text"].as_str().unwrap()
        );
    }
}

#[test]
fn what_cannot_be_associated_is_wrong_configuration() {
    let world = World::new();
    let https = "https://app.example.com/cb";
    for (code, arguments) in [
        ("redirect_missing", &["--apple-app-id", APP][..]),
        (
            "association_redirect",
            &["--redirect", "com.example.app:/cb", "--apple-app-id", APP],
        ),
        (
            "redirect_malformed",
            &["--redirect", "callback", "--apple-app-id", APP],
        ),
        ("app_missing", &["--redirect", https]),
        (
            "app_missing",
            &["--redirect", https, "--apple-app-id", APP, "--only", "android"],
        ),
        (
            "app_missing",
            &["--redirect", https, "--android-package", PACKAGE],
        ),
        (
            "app_id_malformed",
            &["--redirect", https, "--apple-app-id", "com.example.app"],
        ),
        (
            "app_id_malformed",
            &["--redirect", https, "--apple-app-id", "ABCDE12345.*"],
        ),
        (
            "package_malformed",
            &["--redirect", https, "--android-package", "app"],
        ),
        (
            "package_missing",
            &["--redirect", https, "--fingerprint", &print("A1")],
        ),
        (
            "fingerprint_malformed",
            &[
                "--redirect",
                https,
                "--android-package",
                PACKAGE,
                "--fingerprint",
                "A1",
            ],
        ),
    ] {
        let error = world.error(2, &[&["association"], arguments].concat());
        assert_eq!(error["code"], code, "{arguments:?}");
    }
}

#[test]
fn the_app_may_stand_in_the_configuration_file() {
    let world = World::new();
    let path = world.path("config.toml");
    let text = format!(
        "[profiles.default]\nredirect = 'https://app.example.com/cb'\napple_app_id = ['{APP}']\n\
         android_package = '{PACKAGE}'\nfingerprint = ['{}']\n",
        print("A1")
    );
    std::fs::write(&path, text).unwrap();
    let event = world.one(&["association", "--config", path.to_str().unwrap()]);
    assert_eq!(event["files"].as_array().unwrap().len(), 2);
}

#[test]
fn the_interstitial_page_is_the_one_in_the_documentation() {
    let world = World::new();
    let arguments = [
        "interstitial",
        "--redirect",
        "https://app.example.com/callback",
        "--app-link",
        "com.example.app:/callback",
        "--android-package",
        "com.example.app",
        "--name",
        "Example",
    ];
    let page = stdout(&world.expect(0, &arguments));
    let told = concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/interstitial/example.html");
    assert_eq!(page, std::fs::read_to_string(told).unwrap());
    let headers = stdout(&world.expect(0, &[&arguments[..], &["--headers"]].concat()));
    for header in [
        "Referrer-Policy: no-referrer",
        "Cache-Control: no-store",
        "frame-ancestors 'none'",
    ] {
        assert!(headers.contains(header), "{headers}");
    }
    let event = world.one(&arguments);
    assert_eq!(event["page"], page.as_str());
    for (code, redirect, link) in [
        (
            "interstitial_redirect",
            "com.example.app:/cb",
            "com.example.app:/cb",
        ),
        (
            "interstitial_redirect",
            "https://app.example.com/cb",
            "https://evil.example/cb",
        ),
        (
            "redirect_scheme",
            "https://app.example.com/cb",
            "javascript:alert(1)",
        ),
    ] {
        let error = world.error(2, &["interstitial", "--redirect", redirect, "--app-link", link]);
        assert_eq!(error["code"], code);
    }
}

#[test]
fn the_interstitial_page_that_it_prints_the_doctor_approves_of() {
    const PAGE: &str = "https://app.example.com/callback";
    let web = Web::new();
    let redirect = ["--redirect", PAGE];
    let link = ["--app-link", "com.example.app:/callback"];
    let output = web
        .command(&[&["interstitial", "--json"], &redirect[..], &link[..]].concat())
        .output()
        .unwrap();
    let made: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    let html = made["page"].as_str().unwrap();
    let headers = made["headers"].as_object().unwrap();
    let served = |without: &str, html: &str| {
        let headers = headers.iter().filter(|(name, _)| *name != without);
        let headers = headers.map(|(name, value)| format!("{name}: {}", value.as_str().unwrap()));
        Reply::Answer(200, headers.collect(), html.as_bytes().to_vec())
    };
    let codes = |reply: Reply| {
        web.at(PAGE, reply);
        let doctor = web.doctor(&[&["--interstitial", "--no-apple-copy"], &redirect[..]].concat());
        let own = doctor
            .findings
            .iter()
            .filter(|finding| finding["section"] == "interstitial");
        own.map(|finding| finding["code"].as_str().unwrap().to_owned())
            .collect::<Vec<_>>()
    };
    assert_eq!(codes(served("", html)), ["interstitial_good"]);
    for (header, code) in [
        ("Content-Security-Policy", "interstitial_policy"),
        ("Referrer-Policy", "interstitial_referrer"),
        ("Cache-Control", "interstitial_cache"),
    ] {
        assert_eq!(codes(served(header, html)), [code]);
    }
    let foreign = html.replace("</main>", "<img SRC=https://evil.example/x></main>");
    assert_eq!(codes(served("", &foreign)), ["interstitial_foreign"]);
    assert_eq!(codes(Reply::status(404)), ["interstitial_missing"]);
    assert_eq!(codes(Reply::json("{}")), ["interstitial_missing"]);
    assert_eq!(codes(Reply::HangUp), ["interstitial_missing"]);
}
