import SessionLog

/// How a session log is written.
public enum LogFormat: Sendable, Equatable {
    /// CRI log lines, with events and an exit record.
    case cri
    /// Records as VIC's portlayer reads them: output and nothing else.
    case vic

    /// What the bytes hold first: the format of the record that begins earliest.
    /// - Returns: nil where there is none yet.
    static func detect(_ bytes: [UInt8], isAll: Bool) -> LogFormat? {
        var cri = FirstRecord()
        var criDecoder = CRIDecoder()
        criDecoder.decode(bytes) { cri.take($0) }
        var vic = FirstRecord()
        var vicDecoder = VICLogDecoder()
        vicDecoder.decode(bytes) { vic.take($0) }
        if isAll {
            criDecoder.finish { cri.take($0) }
            vicDecoder.finish { vic.take($0) }
        }
        switch (cri.isThere, vic.isThere) {
        case (false, false): return nil
        case (true, false): return .cri
        // Perhaps a CRI log line that is not whole yet, and whose content looks like it.
        case (false, true): return vic.skipped == 0 || isAll || bytes.count >= LogDecoder.window ? .vic : nil
        // The output of either may hold what looks like a record of the other.
        case (true, true): return vic.skipped < cri.skipped ? .vic : .cri
        }
    }

    private struct FirstRecord {
        var skipped: UInt64 = 0
        var isThere = false

        mutating func take(_ item: CRIDecoder.Item) {
            if isThere { return }
            if case .skipped(_, let count) = item { skipped &+= count } else { isThere = true }
        }
    }
}

/// Reads a session log in either format, which it tells by the first record.
public struct LogDecoder: Sendable {
    /// Bytes after which a log without a record counts as one of CRI log lines.
    static let window = 65_536

    /// nil until it is known.
    public private(set) var format: LogFormat?
    private var beginning: [UInt8] = []
    private var cri = CRIDecoder()
    private var vic = VICLogDecoder()

    public init() {}

    /// The items that the next bytes complete.
    public mutating func decode(_ chunk: some Sequence<UInt8>) -> [CRIDecoder.Item] {
        guard format == nil else { return items(Array(chunk), isEnd: false) }
        beginning += chunk
        format = LogFormat.detect(beginning, isAll: false) ?? (beginning.count >= Self.window ? .cri : nil)
        return format == nil ? [] : takeBeginning(isEnd: false)
    }

    /// The log has ended: what is left of it.
    public mutating func finish() -> [CRIDecoder.Item] {
        if format != nil { return items([], isEnd: true) }
        format = LogFormat.detect(beginning, isAll: true) ?? .cri
        return takeBeginning(isEnd: true)
    }

    private mutating func takeBeginning(isEnd: Bool) -> [CRIDecoder.Item] {
        let bytes = beginning
        beginning = []
        return items(bytes, isEnd: isEnd)
    }

    private mutating func items(_ chunk: [UInt8], isEnd: Bool) -> [CRIDecoder.Item] {
        var items: [CRIDecoder.Item] = []
        if format == .vic {
            vic.decode(chunk) { items.append($0) }
            if isEnd { vic.finish { items.append($0) } }
        } else {
            cri.decode(chunk) { items.append($0) }
            if isEnd { cri.finish { items.append($0) } }
        }
        return items
    }
}
