// https://developer.apple.com/documentation/security/keychain-services
//
// CFString, CFDictionary and CFTypeRef are Core Foundation's, which Swift on Linux does not import: classes stand in for them,
// and `as CFDictionary`, which the compiler knows on Apple's systems, is a cast here.
import Foundation

/// https://developer.apple.com/documentation/corefoundation/cfstring
public final class CFString: Hashable, Sendable {
    public static func == (one: CFString, other: CFString) -> Bool { one === other }

    public func hash(into hasher: inout Hasher) { hasher.combine(ObjectIdentifier(self)) }
}

/// https://developer.apple.com/documentation/corefoundation/cfdictionary
public typealias CFDictionary = [CFString: Any]
/// https://developer.apple.com/documentation/corefoundation/cftyperef
public typealias CFTypeRef = AnyObject
/// https://developer.apple.com/documentation/kernel/osstatus
public typealias OSStatus = Int32

/// https://developer.apple.com/documentation/security/kSecClass
public let kSecClass = CFString()
/// https://developer.apple.com/documentation/security/kSecClassGenericPassword
public let kSecClassGenericPassword = CFString()
/// https://developer.apple.com/documentation/security/kSecAttrService
public let kSecAttrService = CFString()
/// https://developer.apple.com/documentation/security/kSecAttrAccount
public let kSecAttrAccount = CFString()
/// https://developer.apple.com/documentation/security/kSecAttrAccessGroup
public let kSecAttrAccessGroup = CFString()
/// https://developer.apple.com/documentation/security/kSecAttrGeneric
public let kSecAttrGeneric = CFString()
/// https://developer.apple.com/documentation/security/kSecAttrAccessible
public let kSecAttrAccessible = CFString()
/// https://developer.apple.com/documentation/security/kSecAttrAccessibleAfterFirstUnlockThisDeviceOnly
public let kSecAttrAccessibleAfterFirstUnlockThisDeviceOnly = CFString()
/// https://developer.apple.com/documentation/security/kSecUseDataProtectionKeychain
public let kSecUseDataProtectionKeychain = CFString()
/// https://developer.apple.com/documentation/security/kSecValueData
public let kSecValueData = CFString()
/// https://developer.apple.com/documentation/security/kSecReturnAttributes
public let kSecReturnAttributes = CFString()
/// https://developer.apple.com/documentation/security/kSecReturnData
public let kSecReturnData = CFString()
/// https://developer.apple.com/documentation/security/kSecMatchLimit
public let kSecMatchLimit = CFString()
/// https://developer.apple.com/documentation/security/kSecMatchLimitOne
public let kSecMatchLimitOne = CFString()
/// https://developer.apple.com/documentation/security/kSecMatchLimitAll
public let kSecMatchLimitAll = CFString()

/// https://developer.apple.com/documentation/security/secitemcopymatching(_:_:)
public func SecItemCopyMatching(_: CFDictionary, _: UnsafeMutablePointer<CFTypeRef?>?) -> OSStatus { fatalError() }
/// https://developer.apple.com/documentation/security/secitemadd(_:_:)
public func SecItemAdd(_: CFDictionary, _: UnsafeMutablePointer<CFTypeRef?>?) -> OSStatus { fatalError() }
/// https://developer.apple.com/documentation/security/secitemupdate(_:_:)
public func SecItemUpdate(_: CFDictionary, _: CFDictionary) -> OSStatus { fatalError() }
