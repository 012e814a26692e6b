import CLinux
import Control
import Linux
import SessionLog

/// Writing to the process.
extension Session {
    /// The descriptor to which the process's input is written; -1 where it takes none.
    private var inputDescriptor: Int32 {
        guard let process, state == .running else { return -1 }
        return process.terminal >= 0 ? terminalInput : process.stdin
    }

    /// Whether the process can be written to.
    public var takesInput: Bool { inputDescriptor >= 0 && inputEnd == nil }

    /// No input waits for the process: a client's credit is better given back at once than saved up.
    var isInputIdle: Bool { input.isEmpty }

    /// Whether there is a process that has an input.
    var mayBeWritten: Bool { inputDescriptor >= 0 }

    /// Whether a process is still to come, the first one or the next.
    private var awaitsProcess: Bool { (state == .waiting || state == .draining) && mayTakeInput }

    /// Takes input from a client.
    /// - Returns: false when it is more than the client was granted.
    public func write(_ bytes: [UInt8], from attachment: Attachment) -> Bool {
        guard attachment.takesInput, attachment.useInput(bytes.count) else { return false }
        // Also what nobody reads is taken from the client: it must not send it again.
        inputSources.count(attachment.inputKey, bytes.count)
        // What comes before there is a process, or between two, waits for it.
        if takesInput || awaitsProcess && inputEnd == nil {
            input.append(bytes, owner: attachment.key)
            updateInput()
        } else {
            // Nobody will read it. The client has been told, but may have written before it heard.
            attachment.returnInput(bytes.count)
        }
        return true
    }

    /// The clients have no more input: the process gets an end of file behind what it has not read yet.
    public func endInput() {
        guard inputEnd == nil else { return }
        inputEnd = .requested
        markInputEnd()
    }

    /// Puts the end of file where the process will read it; before there is one, nothing.
    func markInputEnd() {
        guard inputDescriptor >= 0 else { return }
        if terminal >= 0 { input.append(endOfFileMark, owner: nil) }
        updateInput()
    }

    /// What the terminal takes for an end of file.
    ///
    /// The character ends a line that is not empty (termios(3), VEOF), and only the next one reads as an end of file: two
    /// where the last byte written was no newline.
    private var endOfFileMark: [UInt8] {
        var settings = termios()
        guard tcgetattr(terminal, &settings) == 0 else { return [0x04] }
        let character = withUnsafeBytes(of: settings.c_cc) { $0[Int(VEOF)] }
        return input.endsLine ? [character] : [character, character]
    }

    func updateInput() {
        let wanted = inputDescriptor >= 0 && !input.isEmpty
        if wanted, inputWatch == nil {
            inputWatch = loop.watch(inputDescriptor, .writable, self, role: Role.input.rawValue)
        } else if !wanted, let watch = inputWatch {
            loop.unwatch(watch)
            inputWatch = nil
        }
        if inputEnd != nil, input.isEmpty { closeInput() }
    }

    func writeInput() {
        let descriptor = inputDescriptor
        guard descriptor >= 0 else { return updateInput() }
        var failed = false
        while let (owner, count) = input.writeFirst({ bytes in
            let written = CLinux.write(descriptor, bytes.baseAddress, bytes.count)
            if written < 0 && clinux_errno() != EAGAIN && clinux_errno() != EINTR { failed = true }
            return max(0, written)
        }) {
            giveBack(owner, count)
        }
        // EPIPE: the process has closed its standard input, and lives on.
        if failed {
            inputEnd = .processClosed
            discardInput()
        } else {
            updateInput()
        }
    }

    /// Credit goes back to whoever wrote the bytes, or to those who had less because of them.
    private func giveBack(_ owner: UInt64?, _ count: Int) {
        guard let owner else { return }
        if let attachment = attachments.first(where: { $0.key == owner }) { return attachment.returnInput(count) }
        for attachment in attachments { attachment.settleInput(count) }
    }

    /// Bytes that wait for the process and whose writers are gone. A client that writes, drops and comes again must not have more
    /// of them wait each time.
    var orphanedInput: Int { input.count { owner in !attachments.contains { $0.key == owner } } }

    /// A client that may write comes, by its key. What it sent on an older connection and has not arrived does not count any more: it
    /// has it sent again.
    /// - Returns: how many bytes were taken from it, as far as that is known.
    func beginInput(_ key: UInt64) -> UInt64? {
        for older in attachments where older.inputKey == key { remove(older, .requested) }
        return inputSources.begin(key) { key in attachments.contains { $0.inputKey == key } }
    }

    private func closeInput() {
        if terminal < 0 { process?.closeStdin() }
    }

    /// The process takes no more input, or there is none any more: what waits is dropped, and its writers get their credit.
    func discardInput() {
        if let watch = inputWatch {
            loop.unwatch(watch)
            inputWatch = nil
        }
        input.removeAll(giveBack)
        closeInput()
        tellAll()
    }
}
