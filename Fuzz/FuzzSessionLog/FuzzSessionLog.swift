// Feeds the readers of captures whatever libFuzzer makes up, and holds them to what they promise. A promise broken is a
// trap, which libFuzzer reports with the input that caused it.
import SessionLog
import SessionReplay

/// The first byte chooses how the rest is cut into chunks; the rest is the capture.
@_cdecl("LLVMFuzzerTestOneInput")
public func fuzzOne(_ start: UnsafePointer<UInt8>, _ count: Int) -> CInt {
    guard count > 0 else { return 0 }
    let capture = Array(UnsafeBufferPointer(start: start + 1, count: count - 1))
    checkDecoder(capture, chunk: Int(start[0]) + 1)
    checkEncoder(capture, chunk: Int(start[0]) + 1)
    checkVIC(capture, chunk: Int(start[0]) + 1)
    checkReaders(capture)
    return 0
}

private func pieces(_ bytes: [UInt8], _ size: Int) -> [[UInt8]] {
    stride(from: 0, to: bytes.count, by: size).map { Array(bytes[$0..<min(bytes.count, $0 + size)]) }
}

private func decode(_ pieces: [[UInt8]]) -> [CRIDecoder.Item] {
    var decoder = CRIDecoder()
    var items: [CRIDecoder.Item] = []
    for piece in pieces { decoder.decode(piece) { items.append($0) } }
    decoder.finish { items.append($0) }
    return items
}

/// The chunks do not matter, no record is longer than the bound, and reports of skipped bytes do not overlap.
private func checkDecoder(_ capture: [UInt8], chunk: Int) {
    let items = decode([capture])
    precondition(items == decode(pieces(capture, chunk)), "the result depends on the chunks")
    var end: UInt64 = 0
    for item in items {
        switch item {
        case .skipped(let offset, let count):
            precondition(count > 0 && offset >= end && offset + count <= UInt64(capture.count), "skipped bytes out of place")
            end = offset + count
        case .record(let record), .truncated(let record):
            precondition(record.bytes.count <= 65_536 && !record.bytes.contains(10), "a record out of bounds")
        }
    }
    // What was understood can be written again, and means the same.
    var encoder = CRIEncoder()
    var log: [UInt8] = []
    var expected: [LogStream: [UInt8]] = [:]
    for case .record(let record) in items {
        let content = record.endsLine ? record.bytes + [10] : record.bytes
        encoder.encode(record.stream, content, at: record.timestamp.nanoseconds, into: &log)
        encoder.flushPartial(record.stream, into: &log)
        expected[record.stream, default: []] += content
    }
    precondition(content(decode([log])) == expected.filter { !$0.value.isEmpty }, "writing what was read changes it")
}

/// Any bytes survive the way through encoder and decoder.
private func checkEncoder(_ bytes: [UInt8], chunk: Int) {
    var encoder = CRIEncoder()
    var log: [UInt8] = []
    for (index, piece) in pieces(bytes, chunk).enumerated() {
        encoder.encode(.stderr, piece, at: Int64(index) * 999_999_937, into: &log)
        if index % 3 == 2 { encoder.flushPartial(.stderr, into: &log) }
        precondition(encoder.heldCount(.stderr) <= CRIRecord.maximumContent, "the encoder holds too much")
    }
    encoder.flushPartial(.stderr, into: &log)
    let items = decode([log])
    for item in items {
        guard case .record(let record) = item, record.bytes.count <= CRIRecord.maximumContent else {
            preconditionFailure("the encoder wrote what is no record")
        }
    }
    precondition(content(items) == (bytes.isEmpty ? [:] : [.stderr: bytes]), "bytes were changed")
}

private func content(_ items: [CRIDecoder.Item]) -> [LogStream: [UInt8]] {
    var content: [LogStream: [UInt8]] = [:]
    for case .record(let record) in items {
        content[record.stream, default: []] += record.endsLine ? record.bytes + [10] : record.bytes
    }
    return content.filter { !$0.value.isEmpty }
}

private func decodeVIC(_ pieces: [[UInt8]]) -> [CRIDecoder.Item] {
    var decoder = VICLogDecoder()
    var items: [CRIDecoder.Item] = []
    for piece in pieces { decoder.decode(piece) { items.append($0) } }
    decoder.finish { items.append($0) }
    return items
}

/// VIC's format keeps the same promises, and accounts for every byte: those of a record, and those that are no part of one.
private func checkVIC(_ capture: [UInt8], chunk: Int) {
    let items = decodeVIC([capture])
    precondition(items == decodeVIC(pieces(capture, chunk)), "the result depends on the chunks")
    var end = 0
    for item in items {
        switch item {
        case .skipped(let offset, let count):
            precondition(count > 0 && Int(offset) == end, "skipped bytes out of place")
            end += Int(count)
        case .record(let record), .truncated(let record):
            let size = record.bytes.count + (record.endsLine ? 1 : 0)
            precondition(size <= VICLogRecord.maximumContent, "a record out of bounds")
            end += VICLogRecord.headerLength + size
        }
    }
    precondition(end == capture.count, "bytes are not accounted for")
    var encoder = VICLogEncoder()
    var log: [UInt8] = []
    for (index, piece) in pieces(capture, chunk).enumerated() {
        encoder.encode(.stderr, piece, at: Int64(index) * 999_999_937, into: &log)
        if index % 3 == 2 { encoder.flushPartial(.stderr, into: &log) }
        precondition(encoder.heldCount(.stderr) < VICLogRecord.maximumContent, "the encoder holds too much")
    }
    encoder.flushPartial(.stderr, into: &log)
    precondition(content(decodeVIC([log])) == (capture.isEmpty ? [:] : [.stderr: capture]), "bytes were changed")
    var detecting = LogDecoder()
    var detected: [CRIDecoder.Item] = []
    for piece in pieces(log, chunk) { detected += detecting.decode(piece) }
    detected += detecting.finish()
    precondition(detecting.format == .vic || capture.isEmpty, "the format is not known again")
    precondition(content(detected) == (capture.isEmpty ? [:] : [.stderr: capture]), "bytes were changed by the detection")
}

/// The readers above the decoder only must not trap.
private func checkReaders(_ capture: [UInt8]) {
    var tracker = SessionTracker()
    var cast = AsciicastWriter()
    for item in decode([capture]) {
        switch tracker.take(item) {
        case .output(let record): _ = cast.encode(record)
        case .event(let event, _): precondition(SessionEvent(json: event.json) == event, "an event changes when written again")
        default: break
        }
    }
    _ = cast.finish()
    for boot in tracker.boots { _ = boot.defects + [boot.exit?.report ?? ""] }
    if let event = SessionEvent(json: capture) {
        precondition(SessionEvent(json: event.json) == event, "an event changes when written again")
    }
    var printer = ConsolePrinter()
    _ = printer.decode(capture) + printer.finish()
    _ = CaptureKind.detect(capture, isAll: true)
    let text = String(decoding: capture, as: UTF8.self)
    _ = Since(text)
    if let time = Timestamp(text) { precondition(Timestamp(time.text) == time, "a time changes when written again") }
}
