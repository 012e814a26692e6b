extension ContainerSpec {
    /// Reads a configuration: an OCI runtime-spec `config.json` with an optional extension object `tether`.
    ///
    /// A property of the runtime-spec that tether does not honour is refused by name where it asks for something; one that
    /// neither knows is ignored, as the runtime-spec wants it, except in `tether`, where it is taken for a slip of the pen.
    /// - Parameter warnings: receives a note on each ignored property, at most ``SpecError/limit`` of them.
    /// - Throws: ``SpecError`` with everything that is wrong.
    public static func decode(_ bytes: [UInt8], warnings: inout [SpecIssue]) throws(SpecError) -> ContainerSpec {
        let document = try JSONValue.parse(bytes)
        guard case .object(let members) = document else {
            throw SpecError(issues: [SpecIssue(.invalid, "", "expected an object, found \(document.summary)")])
        }
        let issues = IssueList()
        let spec = decode(ObjectReader(members: members, path: "", issues: issues))
        warnings.append(contentsOf: issues.warnings)
        if !issues.issues.isEmpty { throw SpecError(issues: issues.issues, omitted: issues.omitted) }
        return spec
    }

    /// As ``decode(_:warnings:)``, without the warnings.
    public static func decode(_ bytes: [UInt8]) throws(SpecError) -> ContainerSpec {
        var warnings: [SpecIssue] = []
        return try decode(bytes, warnings: &warnings)
    }

    private static func decode(_ reader: ObjectReader) -> ContainerSpec {
        var spec = ContainerSpec(args: [])
        if let version = reader.string("ociVersion") {
            spec.ociVersion = version
            if !isSupportedVersion(version) {
                reader.report(.invalid, "ociVersion", "expected a version 1.x.y of the runtime-spec, found \(quoted(version))")
            }
        } else if reader.value("ociVersion") == nil {
            reader.report(.missing, "ociVersion", "required: the version of the OCI runtime-spec, for example \"1.2.0\"")
        }
        if let process = reader.object("process") {
            spec.process = ContainerProcess(process)
        } else if reader.value("process") == nil {
            reader.report(.missing, "process", "required: the process to run")
        }
        if let root = reader.object("root") { spec.root = ContainerRoot(root) }
        spec.hostname = reader.hostName("hostname")
        spec.domainname = reader.hostName("domainname")
        spec.mounts = (reader.objects("mounts") ?? []).map { ContainerMount($0) }
        if let annotations = reader.object("annotations") { spec.annotations = keyValues(annotations) }
        if let linux = reader.object("linux") { spec.decodeLinux(linux) }
        if let hostname = spec.hostname { spec.tether.id = hostname }
        if let tether = reader.object("tether") { spec.tether.decode(tether) }
        reader.refuse(["hooks"])
        reader.refuse(["windows", "solaris", "vm", "zos", "freebsd"], "not honoured: the container is a Linux process in this VM")
        reader.warnOfUnknown([
            "ociVersion", "process", "root", "hostname", "domainname", "mounts", "annotations", "linux", "tether", "hooks",
            "windows", "solaris", "vm", "zos", "freebsd",
        ])
        return spec
    }

    /// Whether `text` is a semantic version 1.x.y, perhaps with a pre-release or build part.
    private static func isSupportedVersion(_ text: String) -> Bool {
        let core = text.utf8.prefix { $0 != UInt8(ascii: "-") && $0 != UInt8(ascii: "+") }
        let numbers = core.split(separator: UInt8(ascii: "."), omittingEmptySubsequences: false)
        guard numbers.count == 3, numbers[0].elementsEqual("1".utf8) else { return false }
        return numbers.allSatisfy { number in
            !number.isEmpty && number.allSatisfy { $0 >= UInt8(ascii: "0") && $0 <= UInt8(ascii: "9") }
        }
    }

    private static func keyValues(_ reader: ObjectReader) -> [KeyValue] {
        var pairs: [KeyValue] = []
        pairs.reserveCapacity(reader.members.count)
        for member in reader.members {
            if case .string(let value) = member.value {
                pairs.append(KeyValue(key: member.name, value: value))
            } else {
                reader.mismatch(member.name, "a string", member.value)
            }
        }
        return pairs
    }

    private mutating func decodeLinux(_ reader: ObjectReader) {
        if let entries = reader.objects("namespaces") {
            namespaces = ContainerNamespaces(entries, reader.path("namespaces"), reader.issues)
        }
        maskedPaths = reader.strings("maskedPaths", check: pathProblem) ?? maskedPaths
        readonlyPaths = reader.strings("readonlyPaths", check: pathProblem) ?? readonlyPaths
        if let profile = reader.object("seccomp"), !JSONValue.object(profile.members).asksForNothing { seccomp = SeccompProfile(profile) }
        // One line for each of the limits, since each may be what the configuration is about.
        if let resources = reader.object("resources") { resources.refuseAll() }
        let refused = [
            "uidMappings", "gidMappings", "timeOffsets", "devices", "netDevices", "cgroupsPath", "rootfsPropagation", "sysctl",
            "mountLabel", "intelRdt", "personality", "memoryPolicy",
        ]
        reader.refuse(refused)
        reader.warnOfUnknown(["namespaces", "maskedPaths", "readonlyPaths", "seccomp", "resources"] + refused)
    }
}

extension ContainerRoot {
    init(_ reader: ObjectReader) {
        self.init()
        // The path is where a runtime finds the bundle's root; here the disk is the root, whatever the path says.
        _ = reader.string("path")
        readonly = reader.bool("readonly") ?? false
        reader.warnOfUnknown(["path", "readonly"])
    }
}

extension ContainerMount {
    init(_ reader: ObjectReader) {
        self.init(destination: "", type: nil, source: nil, options: [])
        if let path = reader.absolutePath("destination") {
            destination = path
            if path.utf8.allSatisfy({ $0 == UInt8(ascii: "/") }) {
                reader.report(.invalid, "destination", "must not be the container's root, which tether.rootfs describes")
            }
        } else if reader.value("destination") == nil {
            reader.report(.missing, "destination", "required: an absolute path in the container")
        }
        options = reader.strings("options") { $0.isEmpty ? "expected a mount option, found an empty string" : nil } ?? []
        if let text = reader.string("type"), !text.isEmpty { type = text }
        let origin = reader.string("source")
        if origin?.isEmpty == false { source = origin }
        if isBind {
            // There is no bundle directory that a relative path could start from.
            if let origin, let problem = pathProblem(origin) {
                reader.report(.invalid, "source", "\(problem): the mount is a bind mount")
            } else if reader.value("source") == nil {
                reader.report(.missing, "source", "required for a bind mount: an absolute path")
            }
        } else if type == nil && reader.value("type")?.asksForNothing ?? true {
            reader.report(.missing, "type", "required, except for a bind mount: the filesystem type")
        }
        reader.refuse(["uidMappings", "gidMappings"])
        reader.warnOfUnknown(["destination", "type", "source", "options", "uidMappings", "gidMappings"])
    }
}

extension ContainerNamespaces {
    init(_ entries: [ObjectReader], _ path: String, _ issues: IssueList) {
        self.init()
        var seen: [String] = []
        for entry in entries {
            guard let type = entry.string("type") else {
                if entry.value("type") == nil { entry.report(.missing, "type", "required: the kind of namespace") }
                continue
            }
            switch type {
            case "mount", "pid", "ipc", "uts":
                if seen.contains(type) { entry.report(.invalid, "type", "the \(type) namespace is listed twice") }
                seen.append(type)
            case "network":
                entry.report(
                    .unsupported, "type", "a network namespace is not honoured yet: the container uses the VM's network; remove the entry")
            case "cgroup", "user", "time":
                entry.report(.unsupported, "type", "a \(type) namespace is not honoured yet; remove the entry")
            default:
                entry.report(.invalid, "type", "expected mount, pid, ipc or uts, found \(quoted(type))")
            }
            entry.refuse(["path"], "joining a namespace is not honoured: the VM has no other container")
            entry.warnOfUnknown(["type", "path"])
        }
        pid = seen.contains("pid")
        ipc = seen.contains("ipc")
        uts = seen.contains("uts")
        if !seen.contains("mount") {
            issues.report(.invalid, path, "must list the mount namespace: the container's root and mounts live in it")
        }
    }
}

extension ObjectReader {
    /// A name for sethostname(2): letters, digits, "-", "_" and ".", at most 64 bytes. nil for "" too, which sets none.
    func hostName(_ name: String) -> String? {
        guard let text = string(name), !text.isEmpty else { return nil }
        // HOST_NAME_MAX and the kernel's limit on the domain name are both 64.
        if isPlainName(text, limit: 64) { return text }
        let expected = "expected at most 64 letters, digits, \"-\", \"_\" and \".\", first a letter or digit"
        report(.invalid, name, "\(expected), found \(quoted(text))")
        return nil
    }
}

/// Whether `text` has 1…`limit` bytes, all letters, digits, "-", "_" or ".", and begins with a letter or digit.
func isPlainName(_ text: String, limit: Int) -> Bool {
    guard text.utf8.count <= limit, let first = text.utf8.first, first != UInt8(ascii: "-"), first != UInt8(ascii: "."),
        first != UInt8(ascii: "_")
    else { return false }
    return text.utf8.allSatisfy {
        $0 >= UInt8(ascii: "a") && $0 <= UInt8(ascii: "z") || $0 >= UInt8(ascii: "A") && $0 <= UInt8(ascii: "Z")
            || $0 >= UInt8(ascii: "0") && $0 <= UInt8(ascii: "9") || $0 == UInt8(ascii: "-") || $0 == UInt8(ascii: "_")
            || $0 == UInt8(ascii: ".")
    }
}
