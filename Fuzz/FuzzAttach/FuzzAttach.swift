// Feeds the attach server as it stands on its line: bytes from the line, whatever a client says that has logged in, and messages
// from PID 1, and holds it to what it promises. A promise broken is a trap, which libFuzzer reports with the input that caused it.

/// The first byte chooses between the whole server with its encryption, and the bridge alone, which is many times as fast.
@_cdecl("LLVMFuzzerTestOneInput")
public func fuzzOne(_ start: UnsafePointer<UInt8>, _ count: Int) -> CInt {
    guard count > 1 else { return 0 }
    var script = Script(Array(UnsafeBufferPointer(start: start + 1, count: count - 1)))
    if start[0] & 3 == 0 {
        var bed = LineBed(options: start[0] >> 2)
        bed.run(&script)
    } else {
        var bed = BridgeBed(isVIC: start[0] & 4 != 0)
        bed.run(&script)
    }
    return 0
}

/// What is done, one after the other. Behind its end there are zeros.
struct Script {
    private let bytes: [UInt8]
    private var position = 0

    init(_ bytes: [UInt8]) { self.bytes = bytes }

    var isOver: Bool { position >= bytes.count }

    mutating func byte() -> UInt8 {
        if isOver { return 0 }
        defer { position += 1 }
        return bytes[position]
    }

    mutating func take(_ count: Int) -> [UInt8] {
        let end = min(bytes.count, position + max(0, count))
        defer { position = end }
        return Array(bytes[position..<end])
    }

    /// A number that is small more often than not.
    mutating func number() -> Int {
        let first = Int(byte())
        return first < 0xC0 ? first : (first & 0x3F) << 8 | Int(byte())
    }
}
