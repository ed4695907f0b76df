// The copy of what the core publishes.

internal import GatepassCore

/// The copy of what the core publishes. The core holds it for as long as the client lives, so it holds no client.
final class Published: FfiListener, Sendable {
    let client = StateChannel()
    private let places = Locked<[String: SessionPlace]>([:])
    private let latest = Locked<UInt64>(0)
    private let listeners = Locked<(next: Int, open: [Int: AsyncStream<SessionEvent>.Continuation])>((0, [:]))

    func place(of id: String) -> SessionPlace {
        places.withLock { places in
            if let place = places[id] { return place }
            let place = SessionPlace()
            places[id] = place
            return place
        }
    }

    /// Called on the one thread of the core, before whoever waits for a change goes on.
    func published(publication: FfiPublication) {
        let isNew = latest.withLock { latest in
            guard publication.order > latest else { return false }
            latest = publication.order
            return true
        }
        guard isNew else { return }
        if let session = publication.session {
            let place = place(of: session.id)
            place.set(session.snapshot.map { TokenCopy($0, epoch: session.epoch) })
            place.states.set(SessionState(session.state))
        }
        client.set(SessionState(publication.state))
    }

    func event(sessionId: String?, event: FfiSessionEvent) {
        let event = SessionEvent(event, sessionID: sessionId)
        for listener in listeners.withLock({ Array($0.open.values) }) {
            listener.yield(event)
        }
    }

    func events() -> AsyncStream<SessionEvent> {
        AsyncStream(bufferingPolicy: .bufferingNewest(64)) { continuation in
            let number = listeners.withLock { listeners in
                listeners.next += 1
                listeners.open[listeners.next] = continuation
                return listeners.next
            }
            continuation.onTermination = { [weak self] _ in
                self?.listeners.withLock { listeners in _ = listeners.open.removeValue(forKey: number) }
            }
        }
    }

    deinit {
        listeners.withLock { $0.open.values.forEach { $0.finish() } }
    }
}

/// Where one session lives: one place for all sign-ins to it, one after the other.
final class SessionPlace: Sendable {
    let states = StateChannel()
    private let copy = Locked<TokenCopy?>(nil)

    func set(_ new: TokenCopy?) {
        copy.withLock { $0 = new }
    }

    /// The token of this sign-in, while it can be used; with `fresh` only while it need not be refreshed either.
    @inline(__always)
    func token(epoch: UInt64, fresh: Bool, clock: any TokenClock) -> AccessToken? {
        guard let copy = copy.withLock({ $0 }), copy.epoch == epoch else { return nil }
        return clock.bootMillis() < (fresh ? copy.freshUntil : copy.usableUntil) ? copy.token : nil
    }
}

/// A state, and those who want to hear of every change.
final class StateChannel: Sendable {
    private struct Inside {
        var value = SessionState.loading
        var next = 0
        var open: [Int: AsyncStream<SessionState>.Continuation] = [:]
    }

    private let inside = Locked(Inside())

    var value: SessionState { inside.withLock { $0.value } }

    /// Yields under the lock, or two changes could overtake each other. A reader's code does not run in there: it goes on in
    /// a task of its own.
    func set(_ state: SessionState) {
        inside.withLock { inside in
            guard inside.value != state else { return }
            inside.value = state
            inside.open.values.forEach { $0.yield(state) }
        }
    }

    func stream() -> AsyncStream<SessionState> {
        // No limit: states are few, and each matters.
        AsyncStream(bufferingPolicy: .unbounded) { continuation in
            let number = inside.withLock { inside in
                inside.next += 1
                inside.open[inside.next] = continuation
                continuation.yield(inside.value)
                return inside.next
            }
            continuation.onTermination = { [weak self] _ in
                self?.inside.withLock { inside in _ = inside.open.removeValue(forKey: number) }
            }
        }
    }

    deinit {
        inside.withLock { $0.open.values.forEach { $0.finish() } }
    }
}
