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

/// The calls of one client that are under way, whoever still waits for them.
final class Calls: Sendable {
    private let background: any BackgroundTime
    private let open = Locked<(count: Int, waiting: [CheckedContinuation<Void, Never>])>((0, []))

    init(background: any BackgroundTime) {
        self.background = background
    }

    /// Waits for a call of the core. Cancellation ends the waiting, with `CancellationError`, and not the call: UniFFI's Swift
    /// takes no notice of a task that is cancelled, so the call has a task of its own. A task that is cancelled before begins
    /// nothing.
    ///
    /// With `inBackground` the system is asked not to suspend the process meanwhile: that goes with the call, not with the
    /// caller.
    func wait<Value: Sendable>(
        inBackground: Bool = false, for call: @escaping @Sendable () async throws -> Value
    ) async throws -> Value {
        try Task.checkCancellation()
        open.withLock { $0.count += 1 }
        return try await detached {
            let done = inBackground ? self.background.begin() : {}
            defer {
                done()
                self.end()
            }
            return try await call()
        }
    }

    /// Waits until there is none.
    func ended() async {
        await withCheckedContinuation { continuation in
            let isOver = open.withLock { open in
                if open.count == 0 { return true }
                open.waiting.append(continuation)
                return false
            }
            if isOver { continuation.resume() }
        }
    }

    private func end() {
        let waiting = open.withLock { open in
            open.count -= 1
            guard open.count == 0 else { return [CheckedContinuation<Void, Never>]() }
            defer { open.waiting = [] }
            return open.waiting
        }
        waiting.forEach { $0.resume() }
    }
}

/// Runs a call in a task of its own, and waits for it for as long as nobody cancels the waiting.
func detached<Value: Sendable>(_ call: @escaping @Sendable () async throws -> Value) async throws -> Value {
    let outcome = Outcome<Value>()
    Task.detached {
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
