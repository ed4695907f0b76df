// What is handed out without a call across the FFI: a copy of what the core publishes, and until when it is good.

import Foundation
internal import GatepassCore

#if canImport(Glibc)
    import Glibc
#elseif canImport(Musl)
    import Musl
#elseif canImport(Darwin)
    import Darwin
#endif

/// An access token. Secret: it does not print.
public struct AccessToken: Sendable, Hashable, CustomStringConvertible, CustomDebugStringConvertible, CustomReflectable {
    /// The token, for the `Authorization` header of a request to one of the app's APIs.
    public let value: String

    init(_ value: String) {
        self.value = value
    }

    /// Never the token.
    public var description: String { "AccessToken(redacted)" }

    /// Never the token.
    public var debugDescription: String { description }

    /// Nothing: `dump` and a debugger's view show no token either.
    public var customMirror: Mirror { Mirror(self, children: []) }
}

/// One token, and until when it is good, by the clock that counts sleep.
struct TokenCopy: Sendable {
    let epoch: UInt64
    let token: AccessToken
    let usableUntil: UInt64
    let freshUntil: UInt64

    init(_ snapshot: FfiSnapshot, epoch: UInt64) {
        self.epoch = epoch
        token = AccessToken(snapshot.token)
        usableUntil = snapshot.usableUntilBootMillis ?? .max
        freshUntil = snapshot.refreshAtBootMillis ?? .max
    }
}

/// The clock by which a token is handed out without a call: the core's own.
protocol TokenClock: Sendable {
    /// Milliseconds since the machine started, with those that it slept.
    func bootMillis() -> UInt64
}

/// That of the system. On Apple's, CLOCK_MONOTONIC goes on during sleep; on Linux it does not, and CLOCK_BOOTTIME does.
struct SystemTokenClock: TokenClock {
    @inline(__always)
    func bootMillis() -> UInt64 {
        var time = timespec()
        #if canImport(Darwin)
            clock_gettime(CLOCK_MONOTONIC, &time)
        #else
            clock_gettime(CLOCK_BOOTTIME, &time)
        #endif
        return UInt64(time.tv_sec) * 1000 + UInt64(time.tv_nsec) / 1_000_000
    }
}
