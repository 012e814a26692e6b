/// Reads the records of VIC's `output.log` from a byte stream that may have been cut or mixed with other bytes on its way.
///
/// Feed it chunks of any size. What is no part of a record is reported as skipped, and reading goes on at the next place where a
/// header stands. Memory is bounded: no record is longer than 4 KiB.
public struct VICLogDecoder: Sendable {
    /// As in CRI log lines: a record that ends with a newline ends its line, and its bytes are without it.
    public typealias Item = CRIDecoder.Item

    private var pending: [UInt8] = []
    /// The offset of the first byte that is neither reported nor skipped.
    private var offset: UInt64 = 0
    private var skippedFrom: UInt64 = 0
    private var skippedCount: UInt64 = 0

    public init() {}

    /// Takes in the next bytes and hands every item they complete to `receive`, in order.
    public mutating func decode(_ chunk: UnsafeRawBufferPointer, _ receive: (Item) -> Void) {
        if chunk.isEmpty { return }
        pending.append(contentsOf: chunk)
        let bytes = pending
        // Given back below, so that its storage is used again.
        pending = []
        let taken = bytes.withUnsafeBytes { take($0, isAll: false, receive) }
        pending = bytes
        pending.removeFirst(taken)
    }

    /// As ``decode(_:_:)``, from an array.
    public mutating func decode(_ chunk: [UInt8], _ receive: (Item) -> Void) { chunk.withUnsafeBytes { decode($0, receive) } }

    /// The stream has ended: hands out what is left.
    public mutating func finish(_ receive: (Item) -> Void) {
        let bytes = pending
        pending = []
        _ = bytes.withUnsafeBytes { take($0, isAll: true, receive) }
        report(receive)
    }

    /// - Returns: how many of `bytes` are done with.
    private mutating func take(_ bytes: UnsafeRawBufferPointer, isAll: Bool, _ receive: (Item) -> Void) -> Int {
        var at = 0
        while bytes.count - at >= VICLogRecord.headerLength {
            let rest = UnsafeRawBufferPointer(rebasing: bytes[at...])
            guard let header = VICLogRecord.header(UnsafeRawBufferPointer(rebasing: rest.prefix(VICLogRecord.headerLength))) else {
                skip(1)
                at += 1
                continue
            }
            let content = UnsafeRawBufferPointer(rebasing: rest.dropFirst(VICLogRecord.headerLength).prefix(header.size))
            if content.count < header.size && !isAll { return at }
            report(receive)
            let endsLine = content.last == newline
            let record = CRIRecord(
                timestamp: header.time, stream: header.stream, endsLine: endsLine,
                bytes: [UInt8](endsLine ? UnsafeRawBufferPointer(rebasing: content.dropLast()) : content))
            let length = VICLogRecord.headerLength + content.count
            offset &+= UInt64(length)
            at += length
            receive(content.count < header.size ? .truncated(record) : .record(record))
        }
        guard isAll else { return at }
        skip(UInt64(bytes.count - at))
        return bytes.count
    }

    private mutating func skip(_ count: UInt64) {
        if count == 0 { return }
        if skippedCount == 0 { skippedFrom = offset }
        skippedCount &+= count
        offset &+= count
    }

    private mutating func report(_ receive: (Item) -> Void) {
        if skippedCount > 0 { receive(.skipped(offset: skippedFrom, count: skippedCount)) }
        skippedCount = 0
    }
}
