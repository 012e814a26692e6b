import GuestInfo

/// The RPCI commands: what a whole request does, and its reply.
extension GuestInfoHost {
    /// Runs the request of `channel`, which has just become whole, and leaves its reply there.
    func execute(_ channel: inout Channel) {
        let request = channel.request
        // Only the last are kept: a guest that talks for days must not fill the host's memory.
        if report.requests.count == 256 { report.requests.removeFirst() }
        report.requests.append(request)
        let reply = perform(request)
        channel.phase = .idle
        channel.request = []
        switch options.reply {
        case nil: channel.reply = reply
        case .bytes(let bytes): channel.reply = bytes
        case .some(.none): channel.reply = nil
        }
    }

    private func perform(_ request: [UInt8]) -> [UInt8] {
        // Tools send their C strings with or without the NUL.
        let text = request.last == 0 ? request.dropLast() : request[...]
        let (command, arguments) = Self.firstWord(text)
        switch command {
        case "info-get":
            return infoGet(arguments)
        case "info-set":
            return infoSet(arguments)
        case "log":
            report.log.append(Array(arguments ?? []))
            return Self.success()
        case "SetGuestInfo", "SetGuestDiskInfo":
            report.announcements.append(Array(text))
            return Self.success()
        default:
            guard command.hasPrefix("tools.") || command.hasPrefix("vmx.capability.") else { return Self.failure("Unknown command") }
            report.announcements.append(Array(text))
            return Self.success()
        }
    }

    private func infoGet(_ arguments: ArraySlice<UInt8>?) -> [UInt8] {
        if options.denyInfo { return Self.failure("Permission denied") }
        let (key, _) = Self.firstWord(arguments ?? [])
        guard let value = store.guestGet(key) else { return Self.failure("No value found") }
        return Self.success(value)
    }

    private func infoSet(_ arguments: ArraySlice<UInt8>?) -> [UInt8] {
        if options.denyInfo { return Self.failure("Permission denied") }
        let (key, value) = Self.firstWord(arguments ?? [])
        guard !key.isEmpty, let value else { return Self.failure("Two and exactly two arguments expected") }
        guard store.guestSet(key, Array(value)) else { return Self.failure("Permission denied") }
        return Self.success()
    }

    /// The bytes up to the first space, and those after it; nil where there is no space.
    private static func firstWord(_ text: ArraySlice<UInt8>) -> (String, ArraySlice<UInt8>?) {
        guard let space = text.firstIndex(of: UInt8(ascii: " ")) else { return (String(decoding: text, as: UTF8.self), nil) }
        return (String(decoding: text[..<space], as: UTF8.self), text[(space + 1)...])
    }

    private static func success(_ value: [UInt8] = []) -> [UInt8] { Array("1 ".utf8) + value }
    private static func failure(_ message: String) -> [UInt8] { Array("0 ".utf8) + Array(message.utf8) }
}
