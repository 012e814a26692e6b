import Linux

extension TetherSettings {
    mutating func decode(_ reader: ObjectReader) {
        if let text = reader.string("id") {
            id = text
            if !isPlainName(text, limit: 128) {
                let expected = "expected 1 to 128 letters, digits, \"-\", \"_\" and \".\", first a letter or digit"
                reader.report(.invalid, "id", "\(expected), found \(quoted(text))")
            }
        }
        if let object = reader.object("rootfs") { rootfs.decode(object) }
        if let object = reader.object("log") { log.decode(object) }
        if let object = reader.object("stop") { stop.decode(object) }
        if let object = reader.object("drain") { drain.decode(object) }
        if let object = reader.object("sessions") { sessions.decode(object) }
        if let object = reader.object("healthcheck") { healthCheck = HealthCheck.read(object) }
        if let object = reader.object("control") { control = ControlSettings.read(object) }
        stdin = reader.choice("stdin", [("none", StdinMode.none), ("open", .open), ("once", .once)]) ?? stdin
        if let text = reader.string("restart"), !text.isEmpty {
            if let policy = RestartPolicy(text) {
                restart = policy
            } else {
                let expected = "\"no\", \"on-failure\", \"on-failure:\" and a number, \"always\" or \"unless-stopped\""
                reader.report(.invalid, "restart", "expected \(expected), found \(quoted(text))")
            }
        }
        memoryReserveKiB = reader.integer("memoryReserveKiB", 4096...16_777_216)
        usesInit = reader.bool("init") ?? usesInit
        debug = reader.bool("debug") ?? debug
        if let object = reader.object("attach"), object.members.contains(where: { !$0.value.asksForNothing }) {
            var settings = AttachSettings()
            settings.decode(object)
            if settings.device == control?.device {
                object.report(.invalid, "device", "\(quoted(settings.device)) is the line of \"control\"")
            }
            attach = settings
        }
        // An adapter without properties is not nothing: it is brought up.
        if let object = reader.object("network"), object.members.contains(where: { $0.value != .null }) {
            network = NetworkSettings.read(object)
        }
        reader.refuseUnknown([
            "id", "rootfs", "log", "stop", "drain", "stdin", "sessions", "restart", "healthcheck", "control", "memoryReserveKiB", "init",
            "debug", "attach", "network",
        ])
    }
}

extension RootfsSettings {
    fileprivate mutating func decode(_ reader: ObjectReader) {
        if let text = reader.string("device") {
            if let specifier = DiskSpecifier(text) {
                device = specifier
            } else {
                let forms = "LABEL=…, UUID=…, PARTLABEL=…, PARTUUID=… or an absolute path"
                reader.report(.invalid, "device", "expected \(forms), found \(quoted(text))")
            }
        }
        if let text = reader.string("type") {
            if isPlainName(text, limit: 32) {
                type = text == "auto" ? nil : text
            } else {
                reader.report(.invalid, "type", "expected \"auto\" or a filesystem type such as \"ext4\", found \(quoted(text))")
            }
        }
        options = reader.strings("options") { $0.isEmpty ? "expected a mount option, found an empty string" : nil } ?? options
        timeoutSeconds = reader.integer("timeoutSeconds", 1...3600) ?? timeoutSeconds
        reader.refuseUnknown(["device", "type", "options", "timeoutSeconds"])
    }
}

extension LogSettings {
    fileprivate mutating func decode(_ reader: ObjectReader) {
        format = reader.choice("format", [("cri", Format.cri), ("vic", .vic)]) ?? format
        partialFlushMilliseconds = reader.integer("partialFlushMilliseconds", 0...60_000) ?? partialFlushMilliseconds
        reader.refuseUnknown(["format", "partialFlushMilliseconds"])
    }
}

extension StopSettings {
    fileprivate mutating func decode(_ reader: ObjectReader) {
        if let value = reader.value("signal") {
            var found: Signal?
            if case .string(let name) = value { found = Signal(name: name) }
            if case .integer(let number) = value { found = Signal(rawValue: Int32(clamping: number)) }
            if let found {
                signal = found
            } else {
                reader.mismatch("signal", "a signal such as \"SIGTERM\", \"SIGRTMIN+3\" or a number from 1 to 64", value)
            }
        }
        timeoutSeconds = reader.integer("timeoutSeconds", 0...3600) ?? timeoutSeconds
        reader.refuseUnknown(["signal", "timeoutSeconds"])
    }
}

extension DrainSettings {
    fileprivate mutating func decode(_ reader: ObjectReader) {
        graceMilliseconds = reader.integer("graceMilliseconds", 0...600_000) ?? graceMilliseconds
        deadlineSeconds = reader.integer("deadlineSeconds", 0...3600) ?? deadlineSeconds
        reader.refuseUnknown(["graceMilliseconds", "deadlineSeconds"])
    }
}

extension SessionSettings {
    fileprivate mutating func decode(_ reader: ObjectReader) {
        ringKiB = reader.integer("ringKiB", 4...16_384) ?? ringKiB
        slowClient = reader.choice("slowClient", [("detach", SlowClient.detach), ("block", .block)]) ?? slowClient
        slowClientSeconds = reader.integer("slowClientSeconds", 1...3600) ?? slowClientSeconds
        maxSessions = reader.integer("maxSessions", 1...256) ?? maxSessions
        maxClients = reader.integer("maxClients", 1...64) ?? maxClients
        reader.refuseUnknown(["ringKiB", "slowClient", "slowClientSeconds", "maxSessions", "maxClients"])
    }
}

extension RestartPolicy {
    /// - Returns: nil for text that is none of the policies.
    public init?(_ text: String) {
        switch text {
        case "no": self = .no
        case "always": self = .always
        case "unless-stopped": self = .unlessStopped
        case "on-failure": self = .onFailure(maximum: nil)
        default:
            guard text.hasPrefix("on-failure:") else { return nil }
            var count: Int64 = 0
            let digits = text.utf8.dropFirst(11)
            if digits.isEmpty { return nil }
            for digit in digits {
                guard digit >= UInt8(ascii: "0") && digit <= UInt8(ascii: "9") else { return nil }
                count = count * 10 + Int64(digit - UInt8(ascii: "0"))
                if count > Int64(Int32.max) { return nil }
            }
            // As Docker has it, 0 is no bound.
            self = .onFailure(maximum: count == 0 ? nil : count)
        }
    }
}

extension ControlSettings {
    /// nil where there is no device.
    fileprivate static func read(_ reader: ObjectReader) -> ControlSettings? {
        reader.refuseUnknown(["device"])
        guard let device = reader.serialLine("device") else { return nil }
        return ControlSettings(device: device)
    }

    /// Whether a path leads to something below /dev.
    static func isDevice(_ path: String) -> Bool {
        let parts = path.utf8.dropFirst().split(separator: UInt8(ascii: "/"), omittingEmptySubsequences: false)
        let isPlain = parts.allSatisfy { !$0.isEmpty && !$0.elementsEqual(".".utf8) && !$0.elementsEqual("..".utf8) }
        return isPlain && parts.count >= 2 && path.hasPrefix("/dev/")
    }
}

extension HealthCheck {
    /// nil where no check is asked for: `["NONE"]`, or an object that says nothing.
    fileprivate static func read(_ reader: ObjectReader) -> HealthCheck? {
        var check = HealthCheck(test: .shell(""))
        check.interval = duration(reader, "Interval") ?? check.interval
        check.timeout = duration(reader, "Timeout") ?? check.timeout
        check.startPeriod = duration(reader, "StartPeriod") ?? check.startPeriod
        check.startInterval = duration(reader, "StartInterval") ?? check.startInterval
        if let retries = reader.integer("Retries", 0...Int64(Int32.max)), retries > 0 { check.retries = retries }
        reader.refuseUnknown(["Test", "Interval", "Timeout", "StartPeriod", "StartInterval", "Retries"])
        guard let words = reader.strings("Test") else {
            if reader.members.contains(where: { $0.name != "Test" && !$0.value.asksForNothing }) {
                reader.require("Test", "there is no image configuration that it could come from")
            }
            return nil
        }
        switch words.first {
        case "NONE" where words.count == 1: return nil
        case "CMD" where words.count > 1 && !words[1].isEmpty: check.test = .command(Array(words.dropFirst()))
        case "CMD-SHELL" where words.count == 2 && !words[1].isEmpty: check.test = .shell(words[1])
        default:
            let expected = "[\"CMD\", a command, …], [\"CMD-SHELL\", a command line] or [\"NONE\"]"
            if case .array(let elements) = reader.value("Test"), elements.count == words.count {
                let found = words.first.map { "\(words.count) elements, the first of which is \(quoted($0))" } ?? "an empty array"
                reader.report(.invalid, "Test", "expected \(expected), found \(found)")
            }
            return nil
        }
        return check
    }

    /// Nanoseconds, at least a millisecond as Docker has it; nil for 0, which stands for the default.
    private static func duration(_ reader: ObjectReader, _ name: String) -> Int64? {
        // 365 days, so that sums of times stay far from the end of Int64.
        guard let duration = reader.integer(name, 0...31_536_000_000_000_000), duration > 0 else { return nil }
        if duration < 1_000_000 { reader.report(.invalid, name, "expected 0 or at least 1000000 (a millisecond), found \(duration)") }
        return duration
    }
}
