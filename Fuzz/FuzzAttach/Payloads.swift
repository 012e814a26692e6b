import SSH

/// Messages of a client that has logged in: of the right form more often than not.
enum Payloads {
    private static let channelRequests = [
        "shell", "exec", "pty-req", "env", "window-change", "signal", "break", "subsystem", "eow@openssh.com", "attach@tether",
        "exec-process@tether", "close-stdin@tether", "ping", "unblock", "close-stdin", "another",
    ]
    private static let globalRequests = [
        "keepalive@openssh.com", "container-ids", "version", "sessions@tether", "stats@tether", "pause@tether", "resume@tether",
        "reload@tether", "stop@tether", "signal@tether", "no-more-sessions@openssh.com", "boot@tether",
    ]
    private static let variables = [
        "TETHER_STDOUT_FROM", "TETHER_STDERR_FROM", "TETHER_STDIN", "LANG", "LC_ALL", "PATH", "SSH_ORIGINAL_COMMAND",
    ]
    private static let places = ["", "oldest", "live", "none", "0", "70000", "18446744073709551615", "1x"]
    private static let names = ["", "main", "web", "done", "nobody"]

    static func next(_ script: inout Script) -> [UInt8] {
        let kind = script.byte()
        switch kind % 8 {
        case 0: return open(&script, type: kind < 0x80 ? "session" : "attach")
        case 1, 2: return request(&script)
        case 3:
            var writer = WireWriter(message: 94)
            writer.uint32(UInt32(script.byte() % 40))
            writer.string([UInt8](repeating: kind & 0x80 == 0 ? 0x61 : 0x0d, count: script.number()))
            return writer.bytes
        case 4:
            var writer = WireWriter(message: [96, 97, 93, 100][Int(kind >> 3) % 4])
            writer.uint32(UInt32(script.byte() % 40))
            if kind >> 3 & 3 == 2 { writer.uint32(UInt32(script.number()) << 8) }
            return writer.bytes
        case 5, 6: return global(&script)
        default: return script.take(script.number())
        }
    }

    private static func open(_ script: inout Script, type: String) -> [UInt8] {
        var writer = WireWriter(message: 90)
        writer.text(type)
        for _ in 0..<2 { writer.uint32(UInt32(script.number()) << 4) }
        writer.uint32(UInt32(script.number()) + 1)
        if type == "attach" { writer.raw(Array(name(&script).utf8)) }
        return writer.bytes
    }

    private static func name(_ script: inout Script) -> String {
        let choice = script.byte()
        return choice < 0xF0 ? names[Int(choice) % names.count] : String(decoding: script.take(script.number()), as: UTF8.self)
    }

    private static func place(_ script: inout Script) -> String { places[Int(script.byte()) % places.count] }

    private static func request(_ script: inout Script) -> [UInt8] {
        let number = UInt32(script.byte() % 40)
        let choice = script.byte()
        let name = channelRequests[Int(choice) % channelRequests.count]
        var writer = WireWriter(message: 98)
        writer.uint32(number)
        writer.text(name)
        writer.boolean(choice & 0x40 == 0)
        if choice & 0x80 != 0 {
            writer.raw(script.take(script.number()))
            return writer.bytes
        }
        switch name {
        case "exec", "signal", "subsystem": writer.string(script.take(script.number()))
        case "pty-req":
            writer.text("xterm")
            for _ in 0..<4 { writer.uint32(UInt32(script.number())) }
            writer.string([0])
        case "window-change": for _ in 0..<4 { writer.uint32(UInt32(script.number())) }
        case "env":
            writer.text(variables[Int(script.byte()) % variables.count])
            writer.text(place(&script))
        case "break": writer.uint32(500)
        case "attach@tether":
            writer.text(Payloads.name(&script))
            writer.text(place(&script))
            writer.text(place(&script))
            writer.boolean(script.byte() & 1 == 0)
            writer.uint64(UInt64(script.byte()))
        case "exec-process@tether":
            writer.string(script.take(script.number()))
            writer.boolean(script.byte() & 1 == 0)
            writer.text(Payloads.name(&script))
            writer.uint64(UInt64(script.byte()))
        case "ping": writer.raw(Array("Ping".utf8))
        case "unblock": writer.raw(Array("Unblock".utf8))
        case "another": writer.raw(script.take(script.number()))
        default: break
        }
        return writer.bytes
    }

    private static func global(_ script: inout Script) -> [UInt8] {
        let choice = script.byte()
        let name = globalRequests[Int(choice & 0x1F) % globalRequests.count]
        var writer = WireWriter(message: 80)
        writer.text(name)
        writer.boolean(choice & 0x40 == 0)
        switch name {
        case _ where choice & 0x80 != 0: writer.raw(script.take(script.number()))
        case "stop@tether":
            writer.text(choice & 0x20 == 0 ? "" : "TERM")
            writer.boolean(choice & 0x20 == 0)
            writer.uint32(UInt32(script.number()))
        case "signal@tether":
            writer.text(Payloads.name(&script))
            writer.text(choice & 0x20 == 0 ? "USR1" : "NONE")
        default: break
        }
        return writer.bytes
    }
}
