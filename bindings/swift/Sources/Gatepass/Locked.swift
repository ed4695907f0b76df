// A value under a lock.

import Foundation

/// A value that is seen and changed under its lock alone. (`Mutex` of the standard library wants iOS 18.)
final class Locked<Value>: @unchecked Sendable {
    // `value` is touched in `withLock` only: hence @unchecked.
    private let lock = NSLock()
    private var value: Value

    init(_ value: Value) {
        self.value = value
    }

    @inline(__always)
    func withLock<Result>(_ body: (inout Value) throws -> Result) rethrows -> Result {
        lock.lock()
        defer { lock.unlock() }
        return try body(&value)
    }
}
