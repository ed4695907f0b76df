// Waiting for the core: a caller that is cancelled stops waiting, and nothing else.

internal import GatepassCore

/// Runs a call of the core, and throws what it throws as a ``GatepassError``.
func calling<Value>(_ call: () throws -> Value) throws -> Value {
    do {
        return try call()
    } catch FfiError.Failed(let details) {
        throw GatepassError(details)
    }
}

/// Waits for a call of the core. Cancellation ends the waiting, with `CancellationError`, and not the call: UniFFI's Swift
/// takes no notice of a task that is cancelled, so the call has a task of its own. A task that is cancelled before begins
/// nothing.
///
/// With `background` the system is asked not to suspend the process meanwhile: that goes with the call, not with the caller.
func waiting<Value: Sendable>(
    _ background: (any BackgroundTime)? = nil, _ call: @escaping @Sendable () async throws -> Value
) async throws -> Value {
    try Task.checkCancellation()
    let outcome = Outcome<Value>()
    Task.detached {
        let done = background?.begin()
        defer { done?() }
        do {
            outcome.settle(.success(try await call()))
        } catch FfiError.Failed(let details) {
            outcome.settle(.failure(GatepassError(details)))
        } catch {
            outcome.settle(.failure(error))
        }
    }
    return try await withTaskCancellationHandler {
        try await withCheckedThrowingContinuation { outcome.give(to: $0) }
    } onCancel: {
        outcome.settle(.failure(CancellationError()))
    }
}

/// What comes first, the end of the call or of the patience for it.
final class Outcome<Value: Sendable>: Sendable {
    private enum Step {
        case open
        case awaited(CheckedContinuation<Value, any Error>)
        case settled(Result<Value, any Error>)
        case over
    }

    private let step = Locked<Step>(.open)

    func settle(_ result: Result<Value, any Error>) {
        let waiting: CheckedContinuation<Value, any Error>? = step.withLock { step in
            switch step {
            case .open:
                step = .settled(result)
                return nil
            case .awaited(let continuation):
                step = .over
                return continuation
            case .settled, .over:
                return nil
            }
        }
        waiting?.resume(with: result)
    }

    func give(to continuation: CheckedContinuation<Value, any Error>) {
        let settled: Result<Value, any Error>? = step.withLock { step in
            if case .settled(let result) = step {
                step = .over
                return result
            }
            step = .awaited(continuation)
            return nil
        }
        if let settled { continuation.resume(with: settled) }
    }
}
