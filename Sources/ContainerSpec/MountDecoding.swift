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
        uidMappings = IDMapping.list(reader, "uidMappings")
        gidMappings = IDMapping.list(reader, "gidMappings")
        if uidMappings.isEmpty != gidMappings.isEmpty {
            let (missing, present) = uidMappings.isEmpty ? ("uidMappings", "gidMappings") : ("gidMappings", "uidMappings")
            reader.require(missing, "an id-mapped mount maps users and groups, and \(present) is there")
        }
        reader.warnOfUnknown(["destination", "type", "source", "options", "uidMappings", "gidMappings"])
    }
}
