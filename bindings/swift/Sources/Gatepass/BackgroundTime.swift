// Asking the system not to suspend the process in the middle of a refresh.

import Foundation

/// Asks the system for time to finish what is under way. A refresh token that was sent, and whose answer the process slept
/// through, may be lost with its session.
protocol BackgroundTime: Sendable {
    /// Begins; what is returned ends it.
    func begin() -> @Sendable () -> Void
}

/// Where the system suspends nobody.
struct NoBackgroundTime: BackgroundTime {
    func begin() -> @Sendable () -> Void { {} }
}

/// By an activity that the system can call off: the same in an app and in its extensions.
struct ExpiringActivity: BackgroundTime {
    /// Runs the block with `false`, on a thread that it may block; once more with `true`, on another, if the time is over.
    let perform: @Sendable (_ block: @escaping @Sendable (_ isOver: Bool) -> Void) -> Void

    func begin() -> @Sendable () -> Void {
        let done = DispatchSemaphore(value: 0)
        perform { isOver in
            if isOver {
                // The work goes on for as long as the process does, and the core finishes it afterwards. Holding on would
                // only have the system end the process. No lock of ours is held into suspension: there is none between
                // processes but the condition of each commit.
                done.signal()
            } else {
                done.wait()
                // For the other call, should it come.
                done.signal()
            }
        }
        return { done.signal() }
    }
}

#if canImport(UIKit)
    let platformBackgroundTime: any BackgroundTime = ExpiringActivity { block in
        ProcessInfo.processInfo.performExpiringActivity(withReason: "Gatepass", using: block)
    }
#else
    let platformBackgroundTime: any BackgroundTime = NoBackgroundTime()
#endif
