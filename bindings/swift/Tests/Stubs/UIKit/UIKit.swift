// https://developer.apple.com/documentation/uikit
@_exported import Foundation

/// https://developer.apple.com/documentation/uikit/uiapplication
@MainActor open class UIApplication: NSObject {
    /// https://developer.apple.com/documentation/uikit/uiapplication/state
    public enum State: Int, Sendable { case active, inactive, background }

    /// https://developer.apple.com/documentation/uikit/uiapplication/shared
    public class var shared: UIApplication { fatalError() }
    /// https://developer.apple.com/documentation/uikit/uiapplication/applicationstate
    public var applicationState: State { fatalError() }
    /// https://developer.apple.com/documentation/uikit/uiapplication/connectedscenes
    public var connectedScenes: Set<UIScene> { fatalError() }
    /// https://developer.apple.com/documentation/uikit/uiapplication/didbecomeactivenotification
    public nonisolated class var didBecomeActiveNotification: NSNotification.Name { fatalError() }
}

/// https://developer.apple.com/documentation/uikit/uiscene
@MainActor open class UIScene: NSObject {
    /// https://developer.apple.com/documentation/uikit/uiscene/activationstate-swift.enum
    public enum ActivationState: Int, Sendable { case unattached, foregroundActive, foregroundInactive, background }

    /// https://developer.apple.com/documentation/uikit/uiscene/activationstate-swift.property
    public var activationState: ActivationState { fatalError() }
}

/// https://developer.apple.com/documentation/uikit/uiwindowscene
@MainActor open class UIWindowScene: UIScene {
    /// https://developer.apple.com/documentation/uikit/uiwindowscene/windows
    public var windows: [UIWindow] { fatalError() }
}

/// https://developer.apple.com/documentation/uikit/uiwindow
@MainActor open class UIWindow: NSObject {
    /// https://developer.apple.com/documentation/uikit/uiwindow/iskeywindow
    public var isKeyWindow: Bool { fatalError() }
}

extension ProcessInfo {
    /// https://developer.apple.com/documentation/foundation/processinfo/performexpiringactivity(withreason:using:)
    public func performExpiringActivity(withReason _: String, using _: @escaping @Sendable (Bool) -> Void) { fatalError() }
}
