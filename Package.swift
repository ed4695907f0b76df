// swift-tools-version: 6.0
//
// The Swift side: the generated code, the C module under it, and the tests that sign in through them.
// The generated folders come from `cargo xtask bindgen`; `cargo xtask test swift` does all of it.

import PackageDescription

let package = Package(
    name: "Gatepass",
    platforms: [.iOS(.v15), .macOS(.v12)],
    targets: [
        // Generated. Swift 5 mode: UniFFI 0.32's code for an async foreign trait does not compile in 6.
        .target(
            name: "GatepassCore",
            dependencies: ["GatepassFFI"],
            path: "target/bindings/swift/GatepassCore",
            swiftSettings: [.swiftLanguageMode(.v5)]
        ),
        // Generated: the C header and its module map.
        .systemLibrary(name: "GatepassFFI", path: "target/bindings/swift/GatepassFFI"),
        .testTarget(
            name: "GatepassCoreTests",
            dependencies: ["GatepassCore"],
            path: "bindings/swift/Tests/GatepassCoreTests",
            // The Rust library; xtask adds the folder it lies in (-Xlinker -L).
            linkerSettings: [.linkedLibrary("gatepass")]
        ),
    ]
)
