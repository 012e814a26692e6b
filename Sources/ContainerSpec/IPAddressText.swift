/// Addresses as text: dotted decimal (RFC 6943, section 3.1.1, its strict form) and RFC 4291, section 2.2; written as RFC 5952 has it.
extension IPAddress {
    /// - Returns: nil for what is no address; also for IPv4 with octal, hexadecimal or missing parts.
    public init?(_ text: String) {
        let utf8 = Array(text.utf8)
        let parsed = utf8.contains(UInt8(ascii: ":")) ? IPAddress.ipv6(utf8[...]) : IPAddress.ipv4(utf8[...])
        guard let parsed else { return nil }
        self.init(bytes: parsed)
    }

    private static func ipv4(_ text: ArraySlice<UInt8>) -> [UInt8]? {
        let parts = text.split(separator: UInt8(ascii: "."), omittingEmptySubsequences: false)
        guard parts.count == 4 else { return nil }
        var bytes: [UInt8] = []
        for part in parts {
            // A leading zero would be octal to some readers.
            guard (1...3).contains(part.count), part.count == 1 || part.first != UInt8(ascii: "0"), let value = number(part, radix: 10),
                let byte = UInt8(exactly: value)
            else { return nil }
            bytes.append(byte)
        }
        return bytes
    }

    private static func ipv6(_ text: ArraySlice<UInt8>) -> [UInt8]? {
        let colon = UInt8(ascii: ":")
        guard let gap = zip(text.indices, text.indices.dropFirst()).first(where: { text[$0.0] == colon && text[$0.1] == colon }) else {
            guard let all = groups(text), all.count == 16 else { return nil }
            return all
        }
        // The gap stands for one group of zeros at least.
        guard let before = groups(text[..<gap.0]), let after = groups(text[(gap.1 + 1)...]), before.count + after.count <= 14 else {
            return nil
        }
        // IPv4 stands at the very end only.
        if text[..<gap.0].contains(UInt8(ascii: ".")) { return nil }
        return before + [UInt8](repeating: 0, count: 16 - before.count - after.count) + after
    }

    /// Groups between colons; the last may be IPv4.
    private static func groups(_ text: ArraySlice<UInt8>) -> [UInt8]? {
        if text.isEmpty { return [] }
        var bytes: [UInt8] = []
        let parts = text.split(separator: UInt8(ascii: ":"), omittingEmptySubsequences: false)
        for (index, part) in parts.enumerated() {
            if index == parts.count - 1 && part.contains(UInt8(ascii: ".")) {
                guard let last = ipv4(part) else { return nil }
                bytes += last
            } else {
                guard (1...4).contains(part.count), let value = number(part, radix: 16) else { return nil }
                bytes += [UInt8(truncatingIfNeeded: value >> 8), UInt8(truncatingIfNeeded: value)]
            }
        }
        return bytes
    }

    /// Of at most four digits.
    private static func number(_ digits: ArraySlice<UInt8>, radix: UInt32) -> UInt32? {
        var value: UInt32 = 0
        for digit in digits {
            let worth: UInt32
            switch digit {
            case UInt8(ascii: "0")...UInt8(ascii: "9"): worth = UInt32(digit - UInt8(ascii: "0"))
            case UInt8(ascii: "a")...UInt8(ascii: "f"): worth = UInt32(digit - UInt8(ascii: "a")) + 10
            case UInt8(ascii: "A")...UInt8(ascii: "F"): worth = UInt32(digit - UInt8(ascii: "A")) + 10
            default: return nil
            }
            if worth >= radix { return nil }
            value = value &* radix &+ worth
        }
        return value
    }

    /// `10.0.0.1`; `2001:db8::1`.
    public var text: String {
        if isIPv4 { return "\(bytes[0]).\(bytes[1]).\(bytes[2]).\(bytes[3])" }
        let groups = stride(from: 0, to: 16, by: 2).map { UInt16(bytes[$0]) << 8 | UInt16(bytes[$0 + 1]) }
        // The longest run of zeros, the first of equal ones, and never a single one.
        var gap = 0..<0
        var start = 0
        for end in 0...8 where end == 8 || groups[end] != 0 {
            if end - start > max(gap.count, 1) { gap = start..<end }
            start = end + 1
        }
        func written(_ groups: ArraySlice<UInt16>) -> String { groups.map { String($0, radix: 16) }.joined(separator: ":") }
        if gap.isEmpty { return written(groups[...]) }
        return written(groups[..<gap.lowerBound]) + "::" + written(groups[gap.upperBound...])
    }
}

extension IPPrefix {
    /// `192.0.2.7/24`, `2001:db8::7/64`.
    /// - Returns: nil for what is none.
    public init?(_ text: String) {
        let parts = text.utf8.split(separator: UInt8(ascii: "/"), omittingEmptySubsequences: false)
        guard parts.count == 2, let address = IPAddress(String(decoding: Array(parts[0]), as: UTF8.self)) else { return nil }
        let digits = Array(parts[1])
        guard (1...3).contains(digits.count), digits.count == 1 || digits[0] != UInt8(ascii: "0") else { return nil }
        var length = 0
        for digit in digits {
            guard (UInt8(ascii: "0")...UInt8(ascii: "9")).contains(digit) else { return nil }
            length = length * 10 + Int(digit - UInt8(ascii: "0"))
        }
        self.init(address, length: length)
    }

    public var text: String { "\(address.text)/\(length)" }

    /// The network's mask, as many bytes as the address has.
    public var mask: [UInt8] {
        (0..<address.bytes.count).map { index in
            let bits = min(max(length - index * 8, 0), 8)
            return bits == 0 ? 0 : 0xFF << UInt8(8 - bits)
        }
    }

    /// The network itself: the address with the bits behind the prefix cleared.
    public var network: IPPrefix {
        let bytes = zip(address.bytes, mask).map { $0 & $1 }
        return IPAddress(bytes: bytes).flatMap { IPPrefix($0, length: length) } ?? self
    }
}
