import CLinux
import Foundation
import Linux
import SSH

/// From standard input to the guest, across lines that drop.
extension AttachSession {
    /// The most input in one packet, in bytes.
    private static let inputPiece = 4096

    /// What was on its way when the line dropped is sent again, from where the guest has taken it.
    /// - Parameter taken: how much it has; nil where it does not know.
    func resumeInput(_ taken: UInt64?) throws(AttachError) {
        switch input.resume(taken) {
        case .whole: return
        case .lost(let count): options.log("\(count) bytes of input are lost: they were on their way when the line dropped")
        case .unknown(let count): options.log("up to \(count) bytes of input that were on their way when the line dropped may be lost")
        case .impossible: throw .violation("it has taken more input than it was sent")
        }
        inputIsIncomplete = true
    }

    /// Standard input is to be read.
    var readsInput: Bool {
        guard wantsInput, phase == .attached, !inputHasEnded else { return false }
        // Where nobody takes input the keys to leave are still waited for.
        return inputIsClosed ? options.terminal?.isRaw == true : input.pending.count < ResumableInput.window
    }

    /// The guest says whether the session takes input: its process may close its own, and another process may come.
    /// - Parameter why: why it does not.
    func inputIsOpen(_ isOpen: Bool, _ why: String) {
        inputIsClosed = !isOpen
        if !isOpen {
            // Not because of us, and there was more to come.
            let waiting = input.pending.count + waitingInput
            if why == "requested", wantsInput, !inputEndIsSent, waiting > 0 {
                options.log("the input of session \(session) was ended before \(waiting) bytes or more of it were sent")
                inputIsIncomplete = true
            }
            input.drop()
            if inputHasEnded { inputEndIsTaken = true }
        } else if inputHasEnded, isatty(options.stdin) == 1 {
            // At a terminal an end of input is a key, and others may follow it.
            (inputHasEnded, inputEndIsTaken, inputEndIsSent) = (false, false, false)
        }
    }

    /// Bytes that standard input has ready.
    private var waitingInput: Int {
        var count: Int32 = 0
        return inputHasEnded || ioctl(options.stdin, UInt(FIONREAD), &count) != 0 ? 0 : Int(max(0, count))
    }

    /// Sends what the guest takes now, and behind it the end.
    func moveInput(_ connection: AttachConnection) {
        guard phase == .attached, let channel else { return }
        if inputIsClosed { return input.drop() }
        // A packet counts when all of it has arrived: small ones get through between two drops of a bad line.
        while !input.isEmpty {
            let sent = connection.client.connection.send(data: input.pending.prefix(AttachSession.inputPiece), on: channel)
            if sent == 0 { break }
            input.advance(sent)
        }
        if inputHasEnded, input.isEmpty, !inputEndIsSent, !inputEndIsTaken {
            inputEndIsSent = true
            // Behind EOF nothing can be sent on a channel; at a terminal more may follow, for the next process.
            if case .attach = options.purpose, isatty(options.stdin) == 1 {
                connection.client.connection.request(channel, name: "close-stdin@tether")
            } else {
                connection.client.connection.sendEOF(channel)
            }
        }
    }

    /// Takes what standard input has.
    func readInput() throws(AttachError) {
        var buffer = [UInt8](repeating: 0, count: 32 * 1024)
        let number = options.stdin
        let count: Int
        do throws(SyscallError) {
            count = try attempt("read", "standard input") { read(number, &buffer, buffer.count) }
        } catch {
            if error.errno == .wouldBlock { return }
            // A terminal that is gone, or in whose background we are.
            if error.errno != .ioError { throw AttachError(error) }
            inputHasEnded = true
            return
        }
        if count == 0 {
            inputHasEnded = true
        } else if options.terminal?.isRaw == true {
            let (typed, isDetached) = options.detachKeys.filter(buffer[..<count])
            input.append(typed)
            if isDetached { outcome = .detached }
        } else {
            input.append(buffer[..<count])
        }
    }
}
