import ContainerSpec
import Linux
import SessionLog

/// What PID 1 must still know after it crashed and started anew: it is kept in a file, since memory is gone then.
struct RecoveryState {
    static let path = "/run/tether/state"

    var id: String
    var phase: Phase
    var startedAt: Timestamp?
    /// 0 while there is none.
    var processID: Int32
    /// How the configuration wants the container stopped.
    var stopSignal = Signal.terminate
    /// How long after it SIGKILL follows, in milliseconds.
    var stopTimeout: Int64 = 10_000
    /// The session log's.
    var logFormat = LogSettings.Format.cri
    /// The session of which VIC's portlayer wants to know; empty where there is none.
    var vicSession = ""

    /// Replaces the file. A failure is no reason to stop: it only makes a later crash report poorer.
    func save() {
        var fields = FieldEncoder()
        fields.append(id)
        fields.append(phase.rawValue)
        fields.append(startedAt?.nanoseconds ?? 0)
        fields.append(Int64(processID))
        fields.append(Int64(stopSignal.rawValue))
        fields.append(stopTimeout)
        fields.append(logFormat == .vic)
        fields.append(vicSession)
        do throws(SyscallError) {
            try Files.makeDirectories("/run/tether", mode: 0o700)
            try Files.replace(RecoveryState.path, with: fields.bytes)
        } catch {}
    }

    /// - Returns: nil when there is none, or it is not whole.
    static func load() -> RecoveryState? {
        guard let bytes = try? Files.read(path, limit: 65_536) else { return nil }
        var fields = FieldDecoder(bytes)
        guard let id = fields.text(), let phase = fields.text(), let started = fields.number(), let process = fields.number(),
            let phase = Phase(rawValue: phase), let signal = fields.number().flatMap({ Signal(rawValue: Int32(clamping: $0)) }),
            let timeout = fields.number(), let isVIC = fields.flag(),
            let vicSession = fields.text()
        else { return nil }
        return RecoveryState(
            id: id, phase: phase, startedAt: started == 0 ? nil : Timestamp(nanoseconds: started), processID: Int32(clamping: process),
            stopSignal: signal, stopTimeout: timeout, logFormat: isVIC ? .vic : .cri, vicSession: vicSession)
    }
}

extension RecoveryState {
    /// - Parameter processID: 0 while there is none.
    init(_ spec: ContainerSpec, _ phase: Phase, _ startedAt: Timestamp?, processID: Int32, vicSession: String?) {
        id = spec.tether.id
        self.phase = phase
        self.startedAt = startedAt
        self.processID = processID
        stopSignal = spec.tether.stop.signal
        stopTimeout = spec.tether.stop.timeoutSeconds &* 1000
        logFormat = spec.tether.log.format
        self.vicSession = vicSession ?? ""
    }
}
