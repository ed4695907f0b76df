//! The app that claims the redirect, as the settings name it.

use gatepass::RedirectUri;
use gatepass::association::{AndroidApp, AppId, Association, Fingerprint};

use crate::failure::Failure;
use crate::settings::Settings;

/// The app at its redirect. Where nothing of an app is named, no app is.
pub(crate) fn association(redirect: &RedirectUri, settings: &Settings) -> Result<Association, Failure> {
    let mut association = Association::new(redirect)?;
    for id in &settings.apple_app_id.value {
        association = association.with_app_id(AppId::parse(id)?);
    }
    if let Some(group) = &settings.keychain_group {
        association = association.with_keychain_group(&group.value);
    }
    let fingerprints = settings.fingerprint.value.iter();
    let fingerprints = fingerprints
        .map(|text| Fingerprint::parse(text))
        .collect::<Result<Vec<_>, _>>()?;
    match &settings.android_package {
        Some(package) => Ok(association.with_android(AndroidApp::new(&package.value, fingerprints)?)),
        None if fingerprints.is_empty() => Ok(association),
        None => Err(Failure::configuration(
            "package_missing",
            "a fingerprint is of no use without the app that it belongs to: --android-package",
        )),
    }
}
