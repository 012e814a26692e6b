import Control
import SSH

/// What `attach@tether` carries (docs/attach.md): string session, string start of stdout, string start of stderr, boolean wants input,
/// uint64 input key.
struct AttachParameters: Equatable {
    /// Empty for the primary one.
    let session: String
    /// nil: where the server thinks best.
    let stdoutFrom: StreamStart?
    let stderrFrom: StreamStart?
    let wantsStdin: Bool
    /// 0: none.
    let inputKey: UInt64

    /// - Returns: nil for what has another form.
    init?(_ data: [UInt8]) {
        var reader = WireReader(data)
        session = reader.text()
        let starts = (reader.text(), reader.text())
        wantsStdin = reader.boolean()
        inputKey = reader.uint64()
        (stdoutFrom, stderrFrom) = (StreamStart(text: starts.0), StreamStart(text: starts.1))
        guard reader.isComplete, session.utf8.count <= ControlProtocol.maximumName else { return nil }
        // No text is a wish for the best; one that says nothing is a mistake.
        guard stdoutFrom != nil || starts.0.isEmpty, stderrFrom != nil || starts.1.isEmpty else { return nil }
    }
}

/// What `exec-process@tether` carries: string process, boolean wants input, string session, uint64 input key.
struct ExecParameters: Equatable {
    /// JSON, which PID 1 reads.
    let process: [UInt8]
    let wantsStdin: Bool
    /// Empty: a name is chosen.
    let session: String
    /// 0: none.
    let inputKey: UInt64

    /// - Returns: nil for what has another form.
    init?(_ data: [UInt8]) {
        var reader = WireReader(data)
        process = reader.string()
        wantsStdin = reader.boolean()
        session = reader.text()
        inputKey = reader.uint64()
        guard reader.isComplete, session.utf8.count <= ControlProtocol.maximumName else { return nil }
    }
}

extension StreamStart {
    /// `live`, `oldest`, `none`, or an offset in decimal digits.
    init?(text: String) {
        switch text {
        case "live": self = .live
        case "oldest": self = .oldest
        case "none": self = .none
        default:
            let isDecimal = text.utf8.allSatisfy { $0 >= UInt8(ascii: "0") && $0 <= UInt8(ascii: "9") }
            guard isDecimal, let offset = UInt64(text) else { return nil }
            self = .offset(offset)
        }
    }
}
