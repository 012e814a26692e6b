/// The keys with which a person leaves a session that goes on: `ctrl-p,ctrl-q`, as Docker has it.
public struct DetachKeys: Equatable, Sendable {
    private let keys: [UInt8]
    private var matched = 0

    public static let standard = DetachKeys(keys: [16, 17])
    /// None: everything goes to the process.
    public static let none = DetachKeys(keys: [])

    private init(keys: [UInt8]) { self.keys = keys }

    /// Reads a list of single characters and `ctrl-` with a letter or one of `@[\]^_`, separated by commas; an empty text has none.
    public init?(_ text: String) {
        var keys: [UInt8] = []
        if !text.isEmpty {
            for name in text.split(separator: ",", omittingEmptySubsequences: false) {
                if name.utf8.count == 1, let key = name.utf8.first, key < 128 {
                    keys.append(key)
                } else if name.hasPrefix("ctrl-"), name.utf8.count == 6, let letter = name.utf8.last {
                    let upper = letter >= UInt8(ascii: "a") && letter <= UInt8(ascii: "z") ? letter - 32 : letter
                    guard upper >= 64, upper < 96 else { return nil }
                    keys.append(upper - 64)
                } else {
                    return nil
                }
            }
        }
        self.keys = keys
    }

    /// Takes what was typed.
    /// - Returns: what is for the process, and whether the keys were pressed: what was typed after them is for nobody.
    public mutating func filter(_ typed: ArraySlice<UInt8>) -> (input: [UInt8], isDetached: Bool) {
        if keys.isEmpty { return (Array(typed), false) }
        var input: [UInt8] = []
        for byte in typed {
            // What was held back and cannot begin the keys any more is for the process.
            var held = Array(keys[..<matched]) + [byte]
            while !keys.starts(with: held) { input.append(held.removeFirst()) }
            matched = held.count
            if matched == keys.count {
                matched = 0
                return (input, true)
            }
        }
        return (input, false)
    }
}
