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
        usesInit = reader.bool("init") ?? usesInit
        debug = reader.bool("debug") ?? debug
        if let attach = reader.object("attach") {
            attach.refuse(["authorizedKeys", "wait"])
            attach.refuseUnknown(["authorizedKeys", "wait"])
        }
        reader.refuseUnknown(["id", "rootfs", "log", "stop", "drain", "init", "debug", "attach"])
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
        if let text = reader.string("format"), text != "cri" {
            reader.report(.invalid, "format", "expected \"cri\", found \(quoted(text))")
        }
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
