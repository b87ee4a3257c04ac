{{/* Fails, once, with everything that is wrong. */}}
{{- define "signalbox.required" -}}
{{- $wrong := "" -}}
{{- with include "signalbox.contradictions" . | trim -}}
{{- $wrong = printf "These values can't work:\n%s\n" . -}}
{{- end -}}
{{- if .Values.production -}}
{{- with include "signalbox.missing" . | trim -}}
{{- $wrong = printf "%sMissing, since production is true:\n%s\n" $wrong . -}}
{{- end -}}
{{- end -}}
{{- if $wrong -}}
{{- fail (printf "\n\n%s" (regexReplaceAll "\n\n+" $wrong "\n")) -}}
{{- end -}}
{{- end -}}

{{/* What can't work, in any environment: a line each. */}}
{{- define "signalbox.contradictions" -}}
{{- $config := .Values.config -}}
{{- $replicas := include "signalbox.replicas" . | int -}}
{{- if and .Values.autoscaling.enabled .Values.keda.enabled }}
- autoscaling.enabled and keda.enabled: two would scale the same pods; keep one
{{- end }}
{{- range $name, $scaler := dict "autoscaling" .Values.autoscaling "keda" .Values.keda }}
{{- if and $scaler.enabled (gt (int $scaler.minReplicas) (int $scaler.maxReplicas)) }}
- {{ $name }}.minReplicas ({{ $scaler.minReplicas }}) is more than maxReplicas ({{ $scaler.maxReplicas }})
{{- end }}
{{- end }}
{{- if and .Values.serviceMonitor.enabled .Values.podMonitor.enabled }}
- serviceMonitor.enabled and podMonitor.enabled: every series would be there twice; keep one
{{- end }}
{{- if and (or .Values.serviceMonitor.enabled .Values.podMonitor.enabled) (not (include "signalbox.servesMetrics" .)) }}
- serviceMonitor or podMonitor, but config.metrics.enabled is false: there is nothing to scrape
{{- end }}
{{- if and .Values.ingress.enabled (not .Values.ingress.hosts) }}
- ingress.hosts: without them the Ingress of ingress.enabled leads nowhere
{{- end }}
{{- if and .Values.httpRoute.enabled (not .Values.httpRoute.parentRefs) }}
- httpRoute.parentRefs: without them no gateway has the route of httpRoute.enabled
{{- end }}
{{- $ports := list .Values.ports.http }}
{{- if include "signalbox.servesMetrics" . }}{{ $ports = append $ports .Values.ports.metrics }}{{ end }}
{{- if include "signalbox.servesAdmin" . }}{{ $ports = append $ports .Values.ports.admin }}{{ end }}
{{- if ne (len $ports) (len (uniq $ports)) }}
- ports: http, metrics and admin must differ
{{- end }}
{{- if has ($config.server).host (list "127.0.0.1" "localhost" "::1") }}
- config.server.host: nobody reaches {{ $config.server.host }} of a pod; leave it out
{{- end }}
{{- if and (include "signalbox.servesAdmin" .) (not $config.admin.keys) }}
- config.admin.keys: without them nobody can use the admin API of config.admin.enabled, and the gateway does not start
{{- end }}
{{- if and .Values.redis.enabled $config.store (or $config.store.kind $config.store.url) }}
- redis.enabled and config.store: one store is enough; keep one
{{- end }}
{{- if eq (($config.store).kind | default "memory") "file" }}
{{- if or (gt $replicas 1) .Values.autoscaling.enabled .Values.keda.enabled }}
- config.store.kind is file, which is for one process: set replicaCount to 1, or use redis
{{- end }}
{{- if ne .Values.strategy.type "Recreate" }}
- config.store.kind is file, which is for one process: set strategy.type to Recreate, or a rollout runs two
{{- end }}
{{- end }}
{{- with .Values.secrets }}
{{- range $name, $end := dict "env" "env" "clientKeys" "client-keys" }}
{{- if and (get $.Values.secrets $name).existingSecret $.Values.externalSecrets.enabled (get $.Values.externalSecrets $name) }}
- secrets.{{ $name }}.existingSecret and externalSecrets.{{ $name }}: name a Secret or have it made; keep one
{{- end }}
{{- end }}
{{- end }}
{{- if and .Values.externalSecrets.enabled (not .Values.externalSecrets.secretStoreRef.name) }}
- externalSecrets.secretStoreRef.name: without it nobody knows where the secrets of externalSecrets.enabled are
{{- end }}
{{- if and .Values.externalSecrets.enabled (not .Values.externalSecrets.env) (not .Values.externalSecrets.clientKeys) }}
- externalSecrets.env or externalSecrets.clientKeys: without them externalSecrets.enabled makes nothing
{{- end }}
{{- include "signalbox.impossibleObjects" . }}
{{- include "signalbox.impossibleMonitors" . }}
{{- include "signalbox.impossibleTests" . }}
{{- include "signalbox.impossibleScaling" . }}
{{- include "signalbox.impossibleExtensions" . }}
{{- include "signalbox.unsetVariables" . }}
{{- end -}}

{{- define "signalbox.impossibleExtensions" -}}
{{- with .Values.extensions }}
{{- $sources := compact (list (.files | empty | ternary "" "files") .existingConfigMap .image.reference) }}
{{- if gt (len $sources) 1 }}
- extensions: files, existingConfigMap and image.reference are three ways to mount one directory; keep one
{{- end }}
{{- if and .files (not (hasKey .files .module)) }}
- extensions.module is {{ .module }}, which is none of extensions.files: {{ keys .files | sortAlpha | join ", " }}
{{- end }}
{{- if and $sources $.Values.config.extensions }}
- config.extensions is the chart's where it mounts them; set extensions.module instead
{{- end }}
{{- if and .image.reference (semverCompare "<1.33.0-0" $.Capabilities.KubeVersion.Version) }}
- extensions.image needs Kubernetes 1.33 (1.33 and 1.34 with the feature gate ImageVolume); this is {{ $.Capabilities.KubeVersion.Version }}: use extensions.files, or extraVolumes
{{- end }}
{{- end }}
{{- end -}}

{{/* `${NAME}` in the configuration, without a default, where no variable comes from: the gateway would not start. */}}
{{- define "signalbox.unsetVariables" -}}
{{- if not (include "signalbox.envFrom" .) }}
{{- $known := list }}
{{- range include "signalbox.env" . | fromYamlArray }}
{{- $known = append $known .name }}
{{- end }}
{{- $text := include "signalbox.config" . | replace "$${" "" }}
{{- range regexFindAll "\\$\\{[A-Za-z_][A-Za-z0-9_]*\\}" $text -1 | uniq | sortAlpha }}
{{- if not (has (trimPrefix "${" . | trimSuffix "}") $known) }}
- {{ trimPrefix "${" . | trimSuffix "}" }}: config refers to it, and it comes from nowhere; name the Secret that has it in secrets.env.existingSecret, or set it in extraEnv
{{- end }}
{{- end }}
{{- end }}
{{- end -}}

{{/* What production needs, and is not there: a line each. */}}
{{- define "signalbox.missing" -}}
{{- $config := .Values.config -}}
{{- if not .Values.environment }}
- environment: what this one is called, which dashboards and alerts select by
{{- end }}
{{- if not (include "signalbox.needsKeys" .) }}
- keys of clients, or anyone who reaches the gateway spends your money: secrets.clientKeys.existingSecret, externalSecrets.clientKeys, config.admin, or extensions.auth when the extension checks them
{{- end }}
{{- if not $config.providers }}
- config.providers: at least one, so that what is served does not depend on which variables happen to be set
{{- end }}
{{- if .Values.redis.enabled }}
- a Redis that is highly available: the one of redis.enabled is a single pod; name yours in config.store
{{- else if ne (($config.store).kind | default "memory") "redis" }}
- config.store.kind redis, with a url: without it each replica has its own conversations and limits
{{- else if not $config.store.url }}
- config.store.url: where Redis is, such as ${REDIS_URL} of secrets.env
{{- end }}
{{- if not (or .Values.image.digest (and .Values.image.tag (ne .Values.image.tag "latest"))) }}
- image.digest, or image.tag, and not latest: a pod that starts again must be what it was
{{- end }}
{{- if lt (include "signalbox.replicas" . | int) 2 }}
- more than one replica: replicaCount, autoscaling.minReplicas or keda.minReplicas
{{- else if not .Values.podDisruptionBudget.enabled }}
- podDisruptionBudget.enabled: or a drain of nodes may take all replicas at once
{{- end }}
{{- if not (and ((.Values.resources).requests).memory ((.Values.resources).requests).cpu ((.Values.resources).limits).memory) }}
- resources: requests of cpu and memory, and a limit of memory
{{- end }}
{{- if and .Values.ingress.enabled (not .Values.ingress.tls) }}
- ingress.tls: keys of clients must not pass in clear
{{- end }}
{{- if .Values.networkPolicy.enabled }}
{{- if and (eq (($config.store).kind | default "") "redis") (not .Values.networkPolicy.redis.to) (not .Values.networkPolicy.extraEgress) }}
- networkPolicy.redis.to: where Redis is, or the policy keeps the gateway from it
{{- end }}
{{- if and ($config.tracing).enabled (not .Values.networkPolicy.collector.to) (not .Values.networkPolicy.extraEgress) }}
- networkPolicy.collector.to: where traces go, or the policy keeps them back
{{- end }}
{{- end }}
{{- include "signalbox.openSecrets" . }}
{{- end -}}

{{/* Secrets that are written out: a ConfigMap is no place for them. A line each, and none is quoted. */}}
{{- define "signalbox.openSecrets" -}}
{{- $open := list }}
{{- range $name, $provider := .Values.config.providers }}
{{- $open = append $open (list (printf "config.providers.%s.apiKey" $name) ($provider).apiKey) }}
{{- range $header, $value := ($provider).headers }}
{{- if regexMatch "(?i)authorization|key|token|secret" $header }}
{{- $open = append $open (list (printf "config.providers.%s.headers.%s" $name $header) $value) }}
{{- end }}
{{- end }}
{{- end }}
{{- range $index, $key := (.Values.config.auth).keys }}
{{- $open = append $open (list (printf "config.auth.keys[%d].key" $index) $key.key) }}
{{- end }}
{{- range $index, $key := (.Values.config.admin).keys }}
{{- $open = append $open (list (printf "config.admin.keys[%d].key" $index) $key.key) }}
{{- end }}
{{- range list "password" "sentinelPassword" }}
{{- $open = append $open (list (printf "config.store.%s" .) (get (default dict $.Values.config.store) .)) }}
{{- end }}
{{- $open = append $open (list "config.store.tls.key" ((.Values.config.store).tls).key) }}
{{- $url := toString (.Values.config.store).url }}
{{- $open = append $open (list "config.store.url" (regexFind "://[^/@]*:[^/@]+@" $url)) }}
{{- range .Values.extraEnv }}
{{- if and .value (regexMatch "(?i)(key|token|secret|password)$|_HEADERS$" .name) (not (contains "$(" .value)) }}
- extraEnv: {{ .name }} by valueFrom, or in the Secret of secrets.env: as it is, whoever may read the Deployment reads it
{{- end }}
{{- end }}
{{- range $open }}
{{- $secret := index . 1 }}
{{- if and $secret (not (contains "${" $secret)) }}
- {{ first . }} by reference, such as ${NAME} of secrets.env: as it is, it would be in a ConfigMap
{{- end }}
{{- end }}
{{- end -}}
