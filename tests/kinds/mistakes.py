"""Mistakes in base.yaml, and the lines that tell of them."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Case:
    """One change of base.yaml, and every line that it gives."""

    name: str
    old: str
    new: str
    lines: list[str]
    """`…` at the end: another room says the rest."""


CASES: list[Case] = [
    Case(
        "a batch size that is no number",
        "batchSize: 16",
        "batchSize: lots",
        [
            "base.yaml:69:16: StreamFinetuner/desk: spec.trainer.batchSize: 'lots' is not a whole number; use one such as 16",
        ],
    ),
    Case(
        "a batch size of zero",
        "batchSize: 16",
        "batchSize: 0",
        [
            "base.yaml:69:16: StreamFinetuner/desk: spec.trainer.batchSize: must be at least 1",
        ],
    ),
    Case(
        "a fraction where a whole number is due",
        "batchSize: 16",
        "batchSize: 1.5",
        [
            "base.yaml:69:16: StreamFinetuner/desk: spec.trainer.batchSize: 1.5 is not a whole number; use one such as 16",
        ],
    ),
    Case(
        "true where a number is due",
        "batchSize: 16",
        "batchSize: true",
        [
            "base.yaml:69:16: StreamFinetuner/desk: spec.trainer.batchSize: true is not a whole number; use one such as 16",
        ],
    ),
    Case(
        "a number where true or false is due",
        "useMixedPrecision: false",
        "useMixedPrecision: 3",
        [
            "base.yaml:71:24: StreamFinetuner/desk: spec.trainer.useMixedPrecision: 3 is neither true nor false (valid: true, false)",
        ],
    ),
    Case(
        "a negative learning rate",
        "learningRate: 0.001",
        "learningRate: -1",
        [
            "base.yaml:70:19: StreamFinetuner/desk: spec.trainer.learningRate: must be more than 0",
        ],
    ),
    Case(
        "an unknown key with its nearest",
        "batchSize: 16",
        "batchsize: 16",
        [
            "base.yaml:69:5: StreamFinetuner/desk: spec.trainer.batchsize: unknown key 'batchsize'; did you mean 'batchSize'? (valid: batchSize, epochs, gradientAccumulationSteps, learningRate, useMixedPrecision)",
        ],
    ),
    Case(
        "an unknown key in a block of the spec",
        "  trainer:\n",
        "  trainers:\n",
        [
            "base.yaml:68:3: StreamFinetuner/desk: spec.trainers: unknown key 'trainers'; did you mean 'trainer'? (valid: finetunerInfo, finetunerTemplate, preProcessing, ioSequenceLength, promptTemplate, trainer, groundTruth, timeline, learning, promotion, teacher, retention)",
        ],
    ),
    Case(
        "an unknown key at the top",
        "kind: MegaModel",
        "kinds: x\nkind: MegaModel",
        [
            "base.yaml:19:1: MegaModel/gpt: kinds: unknown key 'kinds'; did you mean 'kind'? (valid: apiVersion, kind, metadata, spec, status)",
        ],
    ),
    Case(
        "an unknown key of the metadata",
        "  name: gpt",
        "  name: gpt\n  nmespace: x",
        [
            "base.yaml:22:3: MegaModel/gpt: metadata.nmespace: unknown key 'nmespace'; did you mean 'namespace'? (valid: name, namespace, labels, annotations)",
        ],
    ),
    Case(
        "a duration without a unit",
        "checkpointingInterval: 30s",
        "checkpointingInterval: 30",
        [
            "base.yaml:53:30: StreamFinetuner/desk: spec.finetunerTemplate.dataProcessorTemplate.checkpointingInterval: '30' is not a duration; write a number and ms, s, m, h or d, such as 30s or 5m",
        ],
    ),
    Case(
        "a duration in an unknown unit",
        "checkpointingInterval: 30s",
        "checkpointingInterval: 3 weeks",
        [
            "base.yaml:53:30: StreamFinetuner/desk: spec.finetunerTemplate.dataProcessorTemplate.checkpointingInterval: 'weeks' in '3 weeks' is not a unit of time; use ms, s, m, h or d",
        ],
    ),
    Case(
        "memory in Flink's form where Kubernetes' is due",
        "{cpu: 2, memory: 8Gi}",
        "{cpu: 2, memory: 8192m}",
        [
            "base.yaml:56:32: StreamFinetuner/desk: spec.finetunerTemplate.finetunerResources.limits.memory: '8192m' is not a memory quantity; write bytes with Ki, Mi, Gi, Ti, k, M, G or T, such as 24Gi",
        ],
    ),
    Case(
        "Flink memory in Kubernetes' form",
        "      parallelism: 1",
        "      parallelism: 1\n      flinkMemorySize: 8Gi",
        [
            "base.yaml:55:24: StreamFinetuner/desk: spec.finetunerTemplate.dataProcessorTemplate.flinkMemorySize: '8Gi' is not a Flink memory size; write a whole number with b, kb, m, g or t, such as 8192m",
        ],
    ),
    Case(
        "a cpu that is no quantity",
        "{cpu: 2, memory: 8Gi}",
        "{cpu: two, memory: 8Gi}",
        [
            "base.yaml:56:21: StreamFinetuner/desk: spec.finetunerTemplate.finetunerResources.limits.cpu: 'two' is not a cpu quantity; write cores (2, 0.5) or thousandths (500m)",
        ],
    ),
    Case(
        "a sample ratio above one",
        'sampleRatio: "0.5"',
        'sampleRatio: "1.5"',
        [
            "base.yaml:61:18: StreamFinetuner/desk: spec.preProcessing.sampleRatio: must be at most 1",
        ],
    ),
    Case(
        "a word outside of a closed set",
        "method: full",
        "method: ful",
        [
            "base.yaml:73:13: StreamFinetuner/desk: spec.learning.method: 'ful' is not valid here; did you mean 'full'? (valid: auto, full, lora)",
        ],
    ),
    Case(
        "a provider with other capitals",
        "modelProvider: OpenAI",
        "modelProvider: openai",
        [
            "base.yaml:23:18: MegaModel/gpt: spec.modelProvider: 'openai' is not valid here; did you mean 'OpenAI'? (valid: Anthropic, AzureOpenAI, Gemini, OpenAI)",
        ],
    ),
    Case(
        "a missing key",
        "    baseModel: tiny\n",
        "",
        [
            "base.yaml:46:3: StreamFinetuner/desk: spec.finetunerInfo: baseModel is missing — Write `baseModel:`.",
        ],
    ),
    Case(
        "a missing spec",
        "spec:\n  modelProvider: OpenAI\n  modelTemplate:\n    openAI:\n      apikey: sk-very-secret\n      model: gpt-4o-mini\n",
        "",
        [
            "base.yaml:18:1: MegaModel/gpt: spec is missing — Write `spec:`.",
        ],
    ),
    Case(
        "an unknown kind",
        "kind: MegaModel",
        "kind: MegModel",
        [
            "base.yaml:19:7: ?/gpt: kind: there is no kind 'MegModel'; did you mean 'MegaModel'? (valid: StreamConnector, MegaModel, BaseModel, EmbeddingModel, KnowledgeBase, StreamFinetuner)",
            "base.yaml:50:16: StreamFinetuner/desk: spec.finetunerInfo.megaModel: there is no MegaModel 'gpt' in namespace default — Declare one in namespace default.",
        ],
    ),
    Case(
        "an unknown apiVersion",
        "apiVersion: llm.nstream.ai/v1\nkind: MegaModel",
        "apiVersion: llm.nstream.ai/v2\nkind: MegaModel",
        [
            "base.yaml:18:13: MegaModel/gpt: apiVersion: MegaModel has no apiVersion 'llm.nstream.ai/v2'; did you mean 'llm.nstream.ai/v1'? (valid: llm.nstream.ai/v1)",
        ],
    ),
    Case(
        "an apiVersion of other kinds",
        "apiVersion: llm.nstream.ai/v1\nkind: MegaModel",
        "apiVersion: streams.nstream.ai/v1\nkind: MegaModel",
        [
            "base.yaml:18:13: MegaModel/gpt: apiVersion: MegaModel has no apiVersion 'streams.nstream.ai/v1'; did you mean 'llm.nstream.ai/v1'? (valid: llm.nstream.ai/v1)",
        ],
    ),
    Case(
        "a missing apiVersion",
        "apiVersion: llm.nstream.ai/v1\nkind: MegaModel",
        "kind: MegaModel",
        [
            "base.yaml:18:1: MegaModel/gpt: apiVersion is missing — Write `apiVersion:`.",
        ],
    ),
    Case(
        "a name with capitals",
        "  name: gpt",
        "  name: My GPT",
        [
            "base.yaml:21:9: MegaModel/?: metadata.name: 'My GPT' is not a name; use small letters, digits and '-', with a letter or digit at both ends; did you mean 'my-gpt'?",
            "base.yaml:50:16: StreamFinetuner/desk: spec.finetunerInfo.megaModel: there is no MegaModel 'gpt' in namespace default — Declare one in namespace default.",
        ],
    ),
    Case(
        "a name that is a number",
        "  name: gpt",
        "  name: 4",
        [
            "base.yaml:21:9: MegaModel/?: metadata.name: 4 must be text — Put it in quotes.",
            "base.yaml:50:16: StreamFinetuner/desk: spec.finetunerInfo.megaModel: there is no MegaModel 'gpt' in namespace default — Declare one in namespace default.",
        ],
    ),
    Case(
        "a missing name",
        "  name: gpt",
        "  labels: {a: b}",
        [
            "base.yaml:20:1: MegaModel/?: metadata: name is missing — Write `name:`.",
            "base.yaml:50:16: StreamFinetuner/desk: spec.finetunerInfo.megaModel: there is no MegaModel 'gpt' in namespace default — Declare one in namespace default.",
        ],
    ),
    Case(
        "a label that is no text",
        "  name: gpt",
        "  name: gpt\n  labels: {tier: 1}",
        [
            "base.yaml:22:18: MegaModel/gpt: metadata.labels.tier: must be text — Put it in quotes.",
        ],
    ),
    Case(
        "a placeholder as a name",
        "  name: gpt",
        '  name: "MEGAMODEL_NAME"',
        [
            "base.yaml:21:9: MegaModel/?: metadata.name: the placeholder MEGAMODEL_NAME was not replaced — Set a name.",
            "base.yaml:50:16: StreamFinetuner/desk: spec.finetunerInfo.megaModel: there is no MegaModel 'gpt' in namespace default — Declare one in namespace default.",
        ],
    ),
    Case(
        "a placeholder as a number",
        "batchSize: 16",
        'batchSize: "BATCH_SIZE"',
        [
            "base.yaml:69:16: StreamFinetuner/desk: spec.trainer.batchSize: the placeholder BATCH_SIZE was not replaced — Replace it with a value.",
        ],
    ),
    Case(
        "a placeholder as a reference",
        "baseModel: tiny",
        'baseModel: "BASE_MODEL"',
        [
            "base.yaml:47:16: StreamFinetuner/desk: spec.finetunerInfo.baseModel: the placeholder BASE_MODEL was not replaced — Replace it with a value.",
        ],
    ),
    Case(
        "a placeholder in angle brackets",
        "model: gpt-4o-mini",
        "model: <model>",
        [
            "base.yaml:27:14: MegaModel/gpt: spec.modelTemplate.openAI.model: the placeholder <model> was not replaced — Replace it with a value.",
        ],
    ),
    Case(
        "a placeholder as a question",
        'userQuestion: "Which intent is this? {text}"',
        'userQuestion: "USER_QUESTION"',
        [
            "base.yaml:67:21: StreamFinetuner/desk: spec.promptTemplate[0].userQuestion: the placeholder USER_QUESTION was not replaced — Replace it with a value.",
        ],
    ),
    Case(
        "a placeholder as a secret, which is not repeated",
        "apikey: sk-very-secret",
        "apikey: APIKEY",
        [
            "base.yaml:26:15: MegaModel/gpt: spec.modelTemplate.openAI.apikey: the placeholder APIKEY was not replaced — Replace it with a value.",
        ],
    ),
    Case(
        "a reference to nothing, with the nearest name",
        "baseModel: tiny",
        "baseModel: tinny",
        [
            "base.yaml:47:16: StreamFinetuner/desk: spec.finetunerInfo.baseModel: there is no BaseModel 'tinny' in namespace default; did you mean 'tiny'? (valid: tiny)",
        ],
    ),
    Case(
        "a reference into another namespace",
        "kind: MegaModel\nmetadata:\n  name: gpt",
        "kind: MegaModel\nmetadata:\n  name: gpt\n  namespace: other",
        [
            "base.yaml:51:16: StreamFinetuner/desk: spec.finetunerInfo.megaModel: there is no MegaModel 'gpt' in namespace default — The MegaModel 'gpt' is in namespace other, and namespaces do not see each other.",
        ],
    ),
    Case(
        "a source that is a sink",
        "  direction: source\n",
        "  direction: sink\n",
        [
            "base.yaml:5:1: StreamConnector/questions: spec: a sink needs `input` — Set input: {streamFinetuner: NAME, topic: rows}.",
            "base.yaml:9:3: StreamConnector/questions: spec.schema: does not apply to a sink — Remove it.",
            "base.yaml:14:3: StreamConnector/questions: spec.key: does not apply to a sink — Remove it.",
            "base.yaml:15:3: StreamConnector/questions: spec.id: does not apply to a sink — Remove it.",
            "base.yaml:16:3: StreamConnector/questions: spec.eventTime: does not apply to a sink — Remove it.",
            "base.yaml:49:30: StreamFinetuner/desk: spec.finetunerInfo.dataSource.sourceStreamConnector: questions is a sink, not a source",
        ],
    ),
    Case(
        "two sources",
        "      sourceStreamConnector: questions\n",
        "      sourceStreamConnector: questions\n      sourceStreamFinetuner: desk2\n",
        [
            "base.yaml:50:7: StreamFinetuner/desk: spec.finetunerInfo.dataSource.sourceStreamFinetuner: sourceStreamConnector and sourceStreamFinetuner are mutually exclusive — Keep one; a finetuner's examples already have answers.",
            "base.yaml:50:30: StreamFinetuner/desk: spec.finetunerInfo.dataSource.sourceStreamFinetuner: there is no StreamFinetuner 'desk2' in namespace default; did you mean 'desk'? (valid: desk)",
            "base.yaml:51:5: StreamFinetuner/desk: spec.finetunerInfo.megaModel: examples of another finetuner already have answers and are not labelled again — Remove it.",
        ],
    ),
    Case(
        "no source",
        "    dataSource:\n      sourceStreamConnector: questions\n",
        "    dataSource: {}\n",
        [
            "base.yaml:48:5: StreamFinetuner/desk: spec.finetunerInfo.dataSource: names no source (valid: sourceStreamConnector, sourceStreamFinetuner)",
        ],
    ),
    Case(
        "neither teacher nor ground truth",
        "    megaModel: gpt\n",
        "",
        [
            "base.yaml:46:3: StreamFinetuner/desk: spec.finetunerInfo: neither megaModel nor groundTruth is set, so there are no answers to learn (valid: finetunerInfo.megaModel, groundTruth.column)",
        ],
    ),
    Case(
        "both teacher and ground truth",
        "  learning:\n",
        "  groundTruth: {column: category}\n  learning:\n",
        [
            "base.yaml:72:3: StreamFinetuner/desk: spec.groundTruth: megaModel and groundTruth are mutually exclusive — Keep one of the two.",
        ],
    ),
    Case(
        "a circle of one",
        "      sourceStreamConnector: questions\n    megaModel: gpt\n",
        "      sourceStreamFinetuner: desk\n",
        [
            "base.yaml:49:30: StreamFinetuner/desk: spec.finetunerInfo.dataSource.sourceStreamFinetuner: finetuners read each other in a cycle: desk → desk — Make one of them read a StreamConnector.",
            "base.yaml:58:1: StreamFinetuner/desk: spec.preProcessing.preProcessingSQL: the query is wrong: there is no column id…",
        ],
    ),
    Case(
        "a second preProcessing",
        "    dataProcessorTemplate:\n",
        "    preProcessing: {sampleRatio: 0.1}\n    dataProcessorTemplate:\n",
        [
            "base.yaml:58:3: StreamFinetuner/desk: spec.preProcessing: is declared here and under finetunerTemplate — Keep one of the two.",
        ],
    ),
    Case(
        "knowledge without a knowledge base",
        "this? {text}",
        "this? {text} {knowledge}",
        [
            "base.yaml:67:21: StreamFinetuner/desk: spec.promptTemplate[0].userQuestion: the prompt uses {knowledge}, but no knowledgeBase is set — Set finetunerInfo.knowledgeBase, or remove {knowledge}.",
        ],
    ),
    Case(
        "a column that the query does not give",
        "this? {text}",
        "this? {txt}",
        [
            "base.yaml:67:21: StreamFinetuner/desk: spec.promptTemplate[0].userQuestion: the query returns no column 'txt'; did you mean 'text'? (valid: id, text, category)",
        ],
    ),
    Case(
        "a ground truth that the query does not give",
        "    megaModel: gpt\n  finetunerTemplate:\n",
        "  groundTruth: {column: categry}\n  finetunerTemplate:\n",
        [
            "base.yaml:50:25: StreamFinetuner/desk: spec.groundTruth.column: the query returns no column 'categry'; did you mean 'category'? (valid: id, text, category)",
        ],
    ),
    Case(
        "a query with a syntax error, in its own line",
        "      FROM source_stream\n",
        "      FROM\n",
        [
            "base.yaml:60:1: StreamFinetuner/desk: spec.preProcessing.preProcessingSQL: the query is wrong: …",
        ],
    ),
    Case(
        "a query of an unknown column",
        "SELECT id, text, category",
        "SELECT id, txt, category",
        [
            "base.yaml:59:1: StreamFinetuner/desk: spec.preProcessing.preProcessingSQL: the query is wrong: there is no column txt…",
        ],
    ),
    Case(
        "a query of an unknown table",
        "FROM source_stream",
        "FROM source_streams",
        [
            "base.yaml:60:1: StreamFinetuner/desk: spec.preProcessing.preProcessingSQL: the query is wrong: there is no stream 'source_streams', at line 2, column 6 of the query; did you mean 'source_stream'? (valid: source_stream, questions)",
        ],
    ),
    Case(
        "a query that opens a file",
        "FROM source_stream",
        "FROM read_csv('/etc/passwd')",
        [
            "base.yaml:60:1: StreamFinetuner/desk: spec.preProcessing.preProcessingSQL: the query is wrong: the table function READ_CSV is not allowed…",
        ],
    ),
    Case(
        "a request above its limit",
        "{cpu: 500m, memory: 1Gi}",
        "{cpu: 4, memory: 1Gi}",
        [
            "base.yaml:39:28: BaseModel/tiny: spec.baseModelServingTemplate.resourceRequest.cpu: asks for 4, more than its limit of 2",
        ],
    ),
    Case(
        "weights from nowhere",
        "    path: models/tiny\n",
        "    modelProvider: HUGGINGFACE\n",
        [
            "base.yaml:34:3: BaseModel/tiny: spec.baseModelServingInfo: names no weights (valid: hfModelId, path) — Set a Hugging Face id or the path of a checkpoint folder.",
        ],
    ),
    Case(
        "a path as a Hugging Face id",
        "    path: models/tiny\n",
        "    hfModelId: ./models/tiny\n",
        [
            "base.yaml:35:16: BaseModel/tiny: spec.baseModelServingInfo.hfModelId: './models/tiny' is not a Hugging Face id (OWNER/NAME) — Write a folder under `path`.",
        ],
    ),
    Case(
        "another provider's block",
        "    openAI:\n",
        "    azureOpenAI:\n",
        [
            "base.yaml:24:3: MegaModel/gpt: spec.modelTemplate: openAI is missing — Write `openAI:`.",
            "base.yaml:25:5: MegaModel/gpt: spec.modelTemplate.azureOpenAI: this block does not belong to OpenAI; did you mean 'openAI'? (valid: openAI)",
        ],
    ),
    Case(
        "an address without http",
        "      model: gpt-4o-mini\n",
        "      model: gpt-4o-mini\n      endpoint: localhost:8700\n",
        [
            "base.yaml:28:17: MegaModel/gpt: spec.modelTemplate.openAI.endpoint: is not a URL — Use a URL that starts with http:// or https://.",
        ],
    ),
    Case(
        "an unknown type of connector",
        "  type: file\n",
        "  type: files\n",
        [
            "base.yaml:7:9: StreamConnector/questions: spec.type: 'files' is not valid here; did you mean 'file'? (valid: documents, file, generator, http, kafka)",
        ],
    ),
    Case(
        "a block of another type",
        "  file: {path: questions.jsonl}\n",
        "  file: {path: questions.jsonl}\n  http: {}\n",
        [
            "base.yaml:9:3: StreamConnector/questions: spec.http: this block belongs to type http, but the type is file",
        ],
    ),
    Case(
        "an unknown option of a type",
        "{path: questions.jsonl}",
        "{pth: questions.jsonl}",
        [
            "base.yaml:8:3: StreamConnector/questions: spec.file: path is missing — Write `path:`.",
            "base.yaml:8:10: StreamConnector/questions: spec.file.pth: unknown key 'pth'; did you mean 'path'? (valid: path, format, follow, …",
        ],
    ),
    Case(
        "a type of a column that does not exist",
        "{name: text, type: STRING}",
        "{name: text, type: TEXT}",
        [
            "base.yaml:12:26: StreamConnector/questions: spec.schema[2].type: 'TEXT' is not a type — Use one of: BOOLEAN, TINYINT, SMALLINT, INT, INTEGER, BIGINT, FLOAT, DOUBLE, DOUBLE PRECISION, STRING, BYTES, DATE, TIME, VARCHAR(n), CHAR(n), DECIMAL(p, s), TIMESTAMP(p), TIMESTAMP_LTZ(p), ARRAY<type>.",
        ],
    ),
    Case(
        "a column twice",
        "{name: text, type: STRING}",
        "{name: id, type: STRING}",
        [
            "base.yaml:12:14: StreamConnector/questions: spec.schema[2].name: the column 'id' is declared twice",
        ],
    ),
    Case(
        "a key that is no column",
        "  key: [id]\n",
        "  key: [idd]\n",
        [
            "base.yaml:14:9: StreamConnector/questions: spec.key[0]: the schema has no column 'idd'; did you mean 'id'? (valid: asked_at, id, text, category)",
        ],
    ),
    Case(
        "an event time that is no column",
        "column: asked_at",
        "column: asked",
        [
            "base.yaml:16:23: StreamConnector/questions: spec.eventTime.column: the schema has no column 'asked'; did you mean 'asked_at'? (valid: asked_at, id, text, category)",
        ],
    ),
    Case(
        "an event time that is no time",
        "{name: asked_at, type: TIMESTAMP_LTZ(3)}",
        "{name: asked_at, type: STRING}",
        [
            "base.yaml:10:30: StreamConnector/questions: spec.schema[0].type: 'asked_at' is the event time, so its type cannot be STRING (valid: TIMESTAMP_LTZ(3), TIMESTAMP(3), BIGINT)",
        ],
    ),
    Case(
        "an input of a source",
        "  type: file\n",
        "  type: file\n  input: {topic: answers}\n",
        [
            "base.yaml:8:3: StreamConnector/questions: spec.input: only a sink has an input — Set `direction: sink`.",
        ],
    ),
    Case(
        "a mapping where text is due",
        "model: gpt-4o-mini",
        "model: {a: b}",
        [
            "base.yaml:27:14: MegaModel/gpt: spec.modelTemplate.openAI.model: must be text",
        ],
    ),
    Case(
        "a list where a mapping is due",
        "  trainer:\n    batchSize: 16\n    learningRate: 0.001\n    useMixedPrecision: false\n",
        "  trainer: [1]\n",
        [
            "base.yaml:68:12: StreamFinetuner/desk: spec.trainer: must be a mapping",
        ],
    ),
    Case(
        "nothing where a block is due",
        "  file: {path: questions.jsonl}\n",
        "",
        [
            "base.yaml:5:1: StreamConnector/questions: spec: file is missing — Write `file:`.",
        ],
    ),
    Case(
        "an empty list of prompts",
        '  promptTemplate:\n    - systemContext: You sort questions.\n      userQuestion: "Which intent is this? {text}"\n',
        "  promptTemplate: []\n",
        [
            "base.yaml:65:19: StreamFinetuner/desk: spec.promptTemplate: must not be empty",
        ],
    ),
    Case(
        "a secret of a wrong form",
        "apikey: sk-very-secret",
        "apikey: {env: K}",
        [
            "base.yaml:26:15: MegaModel/gpt: spec.modelTemplate.openAI.apikey: is not a secret (valid: text, ${ENV}, {file: PATH}, {secretRef: {name: NAME, key: KEY}})",
        ],
    ),
    Case(
        "a key twice",
        "    batchSize: 16\n",
        "    batchSize: 16\n    batchSize: 8\n",
        [
            "base.yaml:70:5: duplicate key 'batchSize'; first in line 69 — Keep one of the two.",
        ],
    ),
    Case(
        "a tag",
        "batchSize: 16",
        "batchSize: !!python/object/apply:os.system [ls]",
        [
            "base.yaml:69:16: the tag tag:yaml.org,2002:python/object/apply:os.system is not allowed — Write the plain value.",
        ],
    ),
    Case(
        "an alias of nothing",
        "batchSize: 16",
        "batchSize: *b",
        [
            "base.yaml:69:16: the anchor &b is not defined above",
        ],
    ),
    Case(
        "a tabulator",
        "    batchSize: 16",
        "\tbatchSize: 16",
        [
            "base.yaml:69:1: not YAML: while scanning for the next token found character that cannot start any token",
        ],
    ),
    Case(
        "a resource declared twice",
        "kind: BaseModel\nmetadata:\n  name: tiny",
        "kind: BaseModel\nmetadata:\n  name: tiny\nspec: {baseModelServingInfo: {path: x}}\n---\napiVersion: llm.nstream.ai/v1\nkind: BaseModel\nmetadata:\n  name: tiny",
        [
            "base.yaml:38:9: BaseModel/tiny: metadata.name: declared twice in namespace default; first at base.yaml:32 — Remove or rename one of them.",
        ],
    ),
    Case(
        "a document that is a list",
        "apiVersion: llm.nstream.ai/v1\nkind: StreamConnector",
        "[]\n---\napiVersion: llm.nstream.ai/v1\nkind: StreamConnector",
        [
            "base.yaml:1:1: a resource must be a mapping — Start with apiVersion, kind, metadata, spec.",
        ],
    ),
    Case(
        "an interval of nothing",
        "checkpointingInterval: 30s",
        "checkpointingInterval: 0s",
        [
            "base.yaml:53:30: StreamFinetuner/desk: spec.finetunerTemplate.dataProcessorTemplate.checkpointingInterval: must be more than 0",
        ],
    ),
    Case(
        "memory of nothing",
        "{cpu: 2, memory: 8Gi}",
        "{cpu: 2, memory: 0Gi}",
        [
            "base.yaml:56:32: StreamFinetuner/desk: spec.finetunerTemplate.finetunerResources.limits.memory: must be more than 0",
        ],
    ),
    Case(
        "a table without an end",
        "  file: {path: questions.jsonl}\n",
        "  file: {path: questions.jsonl, follow: true}\n  table: {}\n",
        [
            "base.yaml:9:3: StreamConnector/questions: spec.table: a table must end, and this source is unbounded — Remove `table` to join it as a stream.",
            "base.yaml:50:30: StreamFinetuner/desk: spec.finetunerInfo.dataSource.sourceStreamConnector: questions is a table, not a stream — Join it in the query, or remove its `table`.",
        ],
    ),
    Case(
        "a finetuner with its base's name",
        "kind: StreamFinetuner\nmetadata:\n  name: desk",
        "kind: StreamFinetuner\nmetadata:\n  name: tiny",
        [
            "base.yaml:45:1: StreamFinetuner/tiny: spec: a BaseModel has the same name, and both are served under it — Rename one.",
        ],
    ),
    Case(
        "a stream that is a table",
        "  direction: source\n",
        "  direction: source\n  table: {}\n",
        [
            "base.yaml:50:30: StreamFinetuner/desk: spec.finetunerInfo.dataSource.sourceStreamConnector: questions is a table, not a stream — Join it in the query, or remove its `table`.",
        ],
    ),
    Case(
        "a key that belongs elsewhere",
        "  trainer:\n",
        "  batchSize: 8\n  trainer:\n",
        [
            "base.yaml:68:3: StreamFinetuner/desk: spec.batchSize: unknown key 'batchSize' (valid: finetunerInfo, finetunerTemplate, preProcessing, ioSequenceLength, promptTemplate, trainer, groundTruth, timeline, learning, promotion, teacher, retention) — Move it under trainer.",
        ],
    ),
    Case(
        "an unknown word in a type's own block",
        "type: file\n  file: {path: questions.jsonl}",
        "type: file\n  file: {path: questions.jsonl, format: xml}",
        [
            "base.yaml:8:41: StreamConnector/questions: spec.file.format: 'xml' is not valid here (valid: auto, json, csv, parquet)",
        ],
    ),
    Case(
        "a block that is one of several, with an unknown key",
        "type: file\n  file: {path: questions.jsonl}",
        "type: generator\n  generator: {count: 5, fields: [{name: id, kind: sequence, strt: 1}]}",
        [
            "base.yaml:8:61: StreamConnector/questions: spec.generator.fields[0].strt: unknown key 'strt'; did you mean 'start'? (valid: name, kind, start, step)",
        ],
    ),
    Case(
        "a block that is none of several",
        "type: file\n  file: {path: questions.jsonl}",
        "type: generator\n  generator: {count: 5, fields: [{name: id, kind: sequences}]}",
        [
            "base.yaml:8:51: StreamConnector/questions: spec.generator.fields[0].kind: 'sequences' is not valid here; did you mean 'sequence'? (valid: sequence, uniform, normal, choice, walk, timestamp)",
        ],
    ),
    Case(
        "a topic that a connector does not have",
        "    metric: exact\n",
        "    metric: exact\n---\napiVersion: llm.nstream.ai/v1\nkind: StreamConnector\nmetadata: {name: out}\nspec:\n  direction: sink\n  type: stdout\n  input: {streamConnector: questions, topic: rows}\n",
        [
            "base.yaml:83:46: StreamConnector/out: spec.input.topic: a StreamConnector has no topic 'rows' (valid: events, dead)",
        ],
    ),
    Case(
        "a sink without an input",
        "    metric: exact\n",
        "    metric: exact\n---\napiVersion: llm.nstream.ai/v1\nkind: StreamConnector\nmetadata: {name: out}\nspec:\n  direction: sink\n  type: stdout\n",
        [
            "base.yaml:80:1: StreamConnector/out: spec: a sink needs `input` — Set input: {streamFinetuner: NAME, topic: rows}.",
        ],
    ),
    Case(
        "a sink of two streams",
        "    metric: exact\n",
        "    metric: exact\n---\napiVersion: llm.nstream.ai/v1\nkind: StreamConnector\nmetadata: {name: out}\nspec:\n  direction: sink\n  type: stdout\n  input: {streamConnector: questions, streamFinetuner: desk}\n",
        [
            "base.yaml:83:11: StreamConnector/out: spec.input.streamConnector: streamFinetuner and streamConnector are mutually exclusive",
        ],
    ),
    Case(
        "a knowledge base whose overlap is its chunk",
        "    metric: exact\n",
        "    metric: exact\n---\napiVersion: llm.nstream.ai/v1\nkind: KnowledgeBase\nmetadata: {name: kb}\nspec:\n  embeddingModel: minilm\n  dataSource: {sourceStreamConnector: questions}\n  document: {id: id, text: txt}\n  chunking: {maxTokens: 20, overlap: 20}\n",
        [
            "base.yaml:81:19: KnowledgeBase/kb: spec.embeddingModel: there is no EmbeddingModel 'minilm' in namespace default — Declare one in namespace default.",
            "base.yaml:83:28: KnowledgeBase/kb: spec.document.text: the source has no column 'txt'; did you mean 'text'? (valid: asked_at, id, text, category)",
            "base.yaml:84:38: KnowledgeBase/kb: spec.chunking.overlap: an overlap of 20 tokens must be smaller than the chunk of 20",
        ],
    ),
    Case(
        "retention of what is no topic, for no time, and of nothing",
        "    metric: exact\n",
        "    metric: exact\n  retention:\n    answer: 7d\n    rows: 0s\n    prompts: a week\n",
        [
            "base.yaml:77:5: StreamFinetuner/desk: spec.retention.answer: unknown key 'answer'; did you mean 'answers'? (valid: rows, late, prompts, examples, scores, deadLetters, answers, feedback)",
            "base.yaml:78:11: StreamFinetuner/desk: spec.retention.rows: must be more than 0",
            "base.yaml:79:14: StreamFinetuner/desk: spec.retention.prompts: 'a week' is not a duration; write a number and ms, s, m, h or d, such as 30s or 5m",
        ],
    ),
    Case(
        "retention of everything at once",
        "    metric: exact\n",
        "    metric: exact\n  retention: 7d\n",
        ["base.yaml:76:14: StreamFinetuner/desk: spec.retention: must be a mapping"],
    ),
]
