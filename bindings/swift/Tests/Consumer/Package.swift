// swift-tools-version: 6.0
//
// An app outside the build: it uses the package as any other would, and sees nothing but `Gatepass`.

import PackageDescription

let package = Package(
    name: "Consumer",
    platforms: [.iOS(.v15), .macOS(.v13)],
    dependencies: [.package(name: "Gatepass", path: "../../../..")],
    targets: [
        .executableTarget(name: "SignIn", dependencies: [.product(name: "Gatepass", package: "Gatepass")])
    ]
)
