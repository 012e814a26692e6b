extension MountPropagation {
    /// `linux.rootfsPropagation` in the configuration; the words with "r" are those of mount(8).
    static let words: [(word: String, value: MountPropagation)] = [
        ("private", MountPropagation(kind: .private, isRecursive: false)),
        ("rprivate", MountPropagation(kind: .private, isRecursive: true)),
        ("slave", MountPropagation(kind: .slave, isRecursive: false)), ("rslave", MountPropagation(kind: .slave, isRecursive: true)),
        ("shared", MountPropagation(kind: .shared, isRecursive: false)), ("rshared", MountPropagation(kind: .shared, isRecursive: true)),
        ("unbindable", MountPropagation(kind: .unbindable, isRecursive: false)),
        ("runbindable", MountPropagation(kind: .unbindable, isRecursive: true)),
    ]
}

extension ContainerDevice {
    /// More than any container has; the bound keeps the search for duplicates short.
    private static let limit = 1024

    /// `linux.devices`.
    static func list(_ linux: ObjectReader) -> [ContainerDevice] {
        var devices: [ContainerDevice] = []
        for reader in linux.objects("devices", limit: limit) ?? [] {
            reader.warnOfUnknown(["type", "path", "major", "minor", "fileMode", "uid", "gid"])
            reader.require("path", "an absolute path in the container")
            reader.require("type", "\"c\", \"b\", \"u\" or \"p\"")
            let path = reader.absolutePath("path")
            if let path {
                if let problem = nodeProblem(path) { reader.report(.invalid, "path", problem) }
                if devices.contains(where: { $0.path == path }) { reader.report(.invalid, "path", "\(quoted(path)) is listed twice") }
            }
            let kinds: [(word: String, value: Kind)] = [("c", .character), ("b", .block), ("u", .character), ("p", .fifo)]
            guard let kind = reader.choice("type", kinds) else {
                if case .string("") = reader.value("type") { reader.report(.missing, "type", "required: \"c\", \"b\", \"u\" or \"p\"") }
                continue
            }
            // What the kernel's dev_t has room for: 12 bits and 20.
            let (majors, minors): (ClosedRange<Int64>, ClosedRange<Int64>) = kind == .fifo ? (0...0, 0...0) : (0...4095, 0...1_048_575)
            if kind != .fifo {
                reader.require("major", "the device's major number")
                reader.require("minor", "the device's minor number")
            }
            let major = reader.integer32("major", majors)
            let minor = reader.integer32("minor", minors)
            var device = ContainerDevice(path: path ?? "/", kind: kind, major: major ?? 0, minor: minor ?? 0)
            device.mode = mode(reader, kind)
            device.uid = reader.integer32("uid", 0...4_294_967_294) ?? 0
            device.gid = reader.integer32("gid", 0...4_294_967_294) ?? 0
            devices.append(device)
        }
        return devices
    }

    /// What keeps `path` from being that of a node: its last part has to be a name, and none may lead out and back in.
    private static func nodeProblem(_ path: String) -> String? {
        let parts = path.utf8.split(separator: UInt8(ascii: "/"), omittingEmptySubsequences: false)
        if parts.last?.isEmpty ?? true { return "expected the path of a file, found \(quoted(path))" }
        let leadsAway = parts.contains { $0.elementsEqual(".".utf8) || $0.elementsEqual("..".utf8) }
        return leadsAway ? "must have no part \".\" or \"..\", found \(quoted(path))" : nil
    }

    /// The permission bits of `fileMode`, which some programs write with those of the file's type.
    private static func mode(_ reader: ObjectReader, _ kind: Kind) -> UInt32? {
        guard let mode = reader.integer32("fileMode", 0...0o177_777) else { return nil }
        let type: UInt32 =
            switch kind {
            case .character: 0o020_000
            case .block: 0o060_000
            case .fifo: 0o010_000
            }
        if mode & 0o170_000 != 0 && mode & 0o170_000 != type {
            reader.report(.invalid, "fileMode", "\(mode) has the bits of another type of file than \"type\"")
        }
        return mode & 0o7777
    }
}

extension Personality {
    static func read(_ reader: ObjectReader) -> Personality? {
        reader.warnOfUnknown(["domain", "flags"])
        reader.refuse(["flags"], "not honoured: the runtime-spec has no flag yet")
        let domain = reader.choice("domain", [("LINUX", Personality.linux), ("LINUX32", .linux32)])
        if domain == nil, let flags = reader.value("flags"), !flags.asksForNothing { reader.require("domain", "\"LINUX\" or \"LINUX32\"") }
        return domain
    }
}
