/// Where each register stands in the stub's `g` packet, from its target description ("Target Description Format" in
/// gdb's manual, appendix G).
///
/// The layout is read, not assumed: it has changed between QEMU versions behind the general registers.
struct GDBTargetDescription: Equatable {
    struct Register: Equatable {
        let number: Int
        /// Bytes from the start of the `g` packet.
        let offset: Int
        /// Bytes.
        let size: Int
    }

    private(set) var registers: [String: Register] = [:]
    private var nextNumber = 0
    private var nextOffset = 0

    /// Adds the `<reg …/>` elements of one XML document, which must come in the order in which the stub includes them.
    /// - Returns: the documents that this one includes (`<xi:include href="…"/>`), in order.
    mutating func add(_ document: String) -> [String] {
        var included: [String] = []
        // Comments first: QEMU's description has registers in them that are not there.
        for part in Self.withoutComments(document).split(separator: "<") {
            guard let end = part.firstIndex(of: ">") else { continue }
            let tag = part[..<end]
            if tag.hasPrefix("xi:include"), let href = Self.attribute("href", in: tag) {
                included.append(href)
            } else if tag.hasPrefix("reg "), let name = Self.attribute("name", in: tag),
                let bits = Self.attribute("bitsize", in: tag).flatMap({ Int($0) }), (1...4096).contains(bits)
            {
                if let number = Self.attribute("regnum", in: tag).flatMap({ Int($0) }), number >= 0 { nextNumber = number }
                let size = (bits + 7) / 8
                registers[name] = Register(number: nextNumber, offset: nextOffset, size: size)
                nextNumber &+= 1
                nextOffset &+= size
            }
        }
        return included
    }

    /// The value of a register of at most eight bytes in the `g` packet's decoded bytes.
    func value(_ name: String, in bytes: [UInt8]) -> UInt64? {
        guard let register = registers[name], register.size <= 8, register.offset + register.size <= bytes.count else { return nil }
        return bytes[register.offset..<register.offset + register.size].reversed().reduce(0) { $0 << 8 | UInt64($1) }
    }

    private static func withoutComments(_ document: String) -> String {
        var text = ""
        var rest = document[...]
        while let start = rest.firstRange(of: "<!--") {
            text += rest[..<start.lowerBound]
            guard let end = rest[start.upperBound...].firstRange(of: "-->") else { return text }
            rest = rest[end.upperBound...]
        }
        return text + rest
    }

    private static func attribute(_ name: String, in tag: Substring) -> String? {
        for quote in ["\"", "'"] {
            guard let start = tag.firstRange(of: " \(name)=\(quote)") else { continue }
            let rest = tag[start.upperBound...]
            if let end = rest.firstRange(of: quote) { return String(rest[..<end.lowerBound]) }
        }
        return nil
    }
}
