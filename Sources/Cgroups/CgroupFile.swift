/// Parsers for the shapes that cgroup files have ("Interface Files" in the kernel's cgroup-v2 documentation). What does not fit
/// is skipped, never a trap: a later kernel may write more.
enum CgroupFile {
    /// A decimal number without sign; nil for anything else, and for one above 2^64−1.
    static func number(_ text: ArraySlice<UInt8>) -> UInt64? {
        if text.isEmpty || text.count > 20 { return nil }
        var value: UInt64 = 0
        for byte in text {
            guard byte >= UInt8(ascii: "0"), byte <= UInt8(ascii: "9") else { return nil }
            let (product, tooLarge) = value.multipliedReportingOverflow(by: 10)
            let (sum, tooLargeToo) = product.addingReportingOverflow(UInt64(byte - UInt8(ascii: "0")))
            if tooLarge || tooLargeToo { return nil }
            value = sum
        }
        return value
    }

    /// "0.12", a percentage, in hundredths: 12. Digits behind the second are cut.
    static func hundredths(_ text: ArraySlice<UInt8>) -> UInt64? {
        guard let dot = text.firstIndex(of: UInt8(ascii: ".")) else {
            guard let whole = number(text) else { return nil }
            let (product, tooLarge) = whole.multipliedReportingOverflow(by: 100)
            return tooLarge ? nil : product
        }
        var fraction = text[(dot + 1)...].prefix(2)
        while fraction.count < 2 { fraction.append(UInt8(ascii: "0")) }
        guard let whole = number(text[..<dot]), let part = number(fraction) else { return nil }
        let (product, tooLarge) = whole.multipliedReportingOverflow(by: 100)
        let (sum, tooLargeToo) = product.addingReportingOverflow(part)
        return tooLarge || tooLargeToo ? nil : sum
    }

    /// A file that holds one value: "max\n", "4096\n". Nil for "max" and for what is no number.
    static func single(_ content: [UInt8]) -> UInt64? { number(lines(content).first ?? []) }

    /// "usage_usec 12\nuser_usec 3\n".
    struct Flat {
        private let fields: [(name: ArraySlice<UInt8>, value: ArraySlice<UInt8>)]

        init(_ content: [UInt8]) {
            fields = lines(content).compactMap { line in
                let words = line.split(separator: 0x20)
                return words.count == 2 ? (words[0], words[1]) : nil
            }
        }

        subscript(_ name: StaticString) -> UInt64? {
            for field in fields where matches(field.name, name) { return number(field.value) }
            return nil
        }
    }

    /// One line of a nested-keyed file: "8:0 rbytes=1 wbytes=2" or "some avg10=0.00 total=5".
    struct Nested {
        let key: ArraySlice<UInt8>
        private let fields: ArraySlice<ArraySlice<UInt8>>

        init?(_ line: ArraySlice<UInt8>) {
            let words = line.split(separator: 0x20)
            guard let first = words.first else { return nil }
            key = first
            fields = words.dropFirst()
        }

        /// The text behind "name=".
        func text(_ name: StaticString) -> ArraySlice<UInt8>? {
            for field in fields {
                guard let equals = field.firstIndex(of: UInt8(ascii: "=")) else { continue }
                if matches(field[..<equals], name) { return field[(equals + 1)...] }
            }
            return nil
        }

        func number(_ name: StaticString) -> UInt64? { text(name).flatMap { CgroupFile.number($0) } }
    }

    static func lines(_ content: [UInt8]) -> [ArraySlice<UInt8>] { content.split(separator: 0x0A) }

    /// The process ids of `cgroup.procs`. A 0 is a process of another PID namespace and not to be signalled: to kill(2) it would
    /// mean the caller's own process group. A last line without its newline may be cut, and is left out.
    static func processIDs(_ content: [UInt8]) -> [Int32] {
        var whole = lines(content)
        if let last = content.last, last != 0x0A, !whole.isEmpty { whole.removeLast() }
        return whole.compactMap { line in
            guard let value = number(line), let pid = Int32(exactly: value), pid > 0 else { return nil }
            return pid
        }
    }

    static func matches(_ text: ArraySlice<UInt8>, _ name: StaticString) -> Bool {
        text.count == name.utf8CodeUnitCount && name.withUTF8Buffer { text.elementsEqual($0) }
    }
}
