// swift-tools-version: 6.0
//
// Sign-in for iOS and macOS apps, and for Swift on Linux: `Gatepass` is the one module that an app sees.
//
// Two ways to the Rust library under it. In a checkout where `cargo xtask bindgen` has run, the code that it generated and
// the library that it built are used: that is how the tests run, and how Swift on Linux does. Elsewhere it is the XCFramework
// of a release.

import Foundation
import PackageDescription

let generated = "target/bindings/swift"
let isBuiltHere = FileManager.default.fileExists(atPath: "\(Context.packageDirectory)/\(generated)/GatepassFFI")

/// Written by a release, with the generated code beside it.
let release: (url: String, checksum: String)? = nil

let library: Target
if isBuiltHere {
    // Generated: the C header and its module map. The library is looked for where the linker is told to: xtask says
    // `-Xlinker -L`, an app on Linux puts it where its others are.
    library = .systemLibrary(name: "GatepassFFI", path: "\(generated)/GatepassFFI")
} else if let release {
    library = .binaryTarget(name: "GatepassFFI", url: release.url, checksum: release.checksum)
} else {
    fatalError("Gatepass for Swift is not released yet: clone it, and run `cargo xtask bindgen` there")
}

let package = Package(
    name: "Gatepass",
    platforms: [.iOS(.v15), .macOS(.v13)],
    products: [.library(name: "Gatepass", targets: ["Gatepass"])],
    targets: [
        library,
        // Generated. Swift 5 mode: UniFFI 0.32's code for an async foreign trait does not compile in 6.
        .target(
            name: "GatepassCore",
            dependencies: ["GatepassFFI"],
            path: isBuiltHere ? "\(generated)/GatepassCore" : "bindings/swift/Sources/GatepassCore",
            swiftSettings: [.swiftLanguageMode(.v5)],
            linkerSettings: isBuiltHere ? [.linkedLibrary("gatepass")] : []
        ),
        .target(name: "Gatepass", dependencies: ["GatepassCore"], path: "bindings/swift/Sources/Gatepass"),
    ]
)

// These need the test server in the library, which no release holds.
if isBuiltHere {
    package.targets += [
        .testTarget(
            name: "GatepassCoreTests",
            dependencies: ["GatepassCore"],
            path: "bindings/swift/Tests/GatepassCoreTests"
        ),
        .testTarget(
            name: "GatepassTests",
            dependencies: ["Gatepass", "GatepassCore"],
            path: "bindings/swift/Tests/GatepassTests"
        ),
    ]
}
