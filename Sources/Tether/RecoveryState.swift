import Linux
import SessionLog

/// What PID 1 must still know after it crashed and started anew: it is kept in a file, since memory is gone then.
struct RecoveryState {
    static let path = "/run/tether/state"

    var id: String
    var phase: Phase
    var startedAt: Timestamp?
    var processID: Int32

    /// Replaces the file. A failure is no reason to stop: it only makes a later crash report poorer.
    func save() {
        var fields = FieldEncoder()
        fields.append(id)
        fields.append(phase.rawValue)
        fields.append(startedAt?.nanoseconds ?? 0)
        fields.append(Int64(processID))
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
            let phase = Phase(rawValue: phase)
        else { return nil }
        return RecoveryState(
            id: id, phase: phase, startedAt: started == 0 ? nil : Timestamp(nanoseconds: started), processID: Int32(clamping: process))
    }
}
