// https://developer.apple.com/documentation/swiftui
import Foundation

/// https://developer.apple.com/documentation/swiftui/view
@MainActor public protocol View {
    associatedtype Body: View
    var body: Body { get }
}

extension Never: View {
    public var body: Never { fatalError() }
}

struct Anything: View {
    var body: Never { fatalError() }
}

extension View {
    /// https://developer.apple.com/documentation/swiftui/view/environment(_:_:)
    public func environment<Value>(_: WritableKeyPath<EnvironmentValues, Value>, _: Value) -> some View { Anything() }
    /// https://developer.apple.com/documentation/swiftui/view/onopenurl(perform:)
    public func onOpenURL(perform _: @escaping (URL) -> Void) -> some View { Anything() }
}

/// https://developer.apple.com/documentation/swiftui/environmentkey
public protocol EnvironmentKey {
    associatedtype Value
    static var defaultValue: Value { get }
}

/// https://developer.apple.com/documentation/swiftui/environmentvalues
public struct EnvironmentValues {
    public subscript<Key: EnvironmentKey>(_: Key.Type) -> Key.Value {
        get { fatalError() }
        set { fatalError() }
    }
}
