{{/* The container's variables: of the chart, and `extraEnv`, which wins. */}}
{{- define "signalbox.env" -}}
{{- $env := list (dict "name" "SIGNALBOX_CONFIG" "value" "/etc/signalbox/signalbox.yaml") -}}
{{- /* The image's own would win over the configuration's `server.host`. */}}
{{- $env = append $env (dict "name" "HOST" "value" "") -}}
{{- $given := list -}}
{{- range .Values.extraEnv -}}
{{- $given = append $given .name -}}
{{- end -}}
{{- if .Values.redis.enabled -}}
{{- with (.Values.redis).auth -}}
{{- if .existingSecret -}}
{{- $env = append $env (dict "name" "REDIS_PASSWORD" "valueFrom" (dict "secretKeyRef" (dict "name" .existingSecret "key" .key))) -}}
{{- end -}}
{{- end -}}
{{- end -}}
{{- $otlp := list "OTEL_EXPORTER_OTLP_ENDPOINT" "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT" "OTEL_TRACES_EXPORTER" -}}
{{- $isTraced := (.Values.config.tracing).enabled -}}
{{- range $otlp -}}
{{- $isTraced = or $isTraced (has . $given) -}}
{{- end -}}
{{- if $isTraced -}}
{{- $env = append $env (dict "name" "K8S_POD_NAME" "valueFrom" (dict "fieldRef" (dict "fieldPath" "metadata.name"))) -}}
{{- $env = append $env (dict "name" "K8S_NODE_NAME" "valueFrom" (dict "fieldRef" (dict "fieldPath" "spec.nodeName"))) -}}
{{- $env = append $env (dict "name" "OTEL_SERVICE_NAME" "value" (include "signalbox.fullname" .)) -}}
{{- $attributes := list (printf "service.namespace=%s" .Release.Namespace) "service.instance.id=$(K8S_POD_NAME)" (printf "k8s.namespace.name=%s" .Release.Namespace) "k8s.pod.name=$(K8S_POD_NAME)" "k8s.node.name=$(K8S_NODE_NAME)" -}}
{{- if .Values.environment -}}
{{- $attributes = append $attributes (printf "deployment.environment.name=%s" .Values.environment) -}}
{{- end -}}
{{- $env = append $env (dict "name" "OTEL_RESOURCE_ATTRIBUTES" "value" (join "," $attributes)) -}}
{{- end -}}
{{- $own := list -}}
{{- range $env -}}
{{- if not (has .name $given) -}}
{{- $own = append $own . -}}
{{- end -}}
{{- end -}}
{{- concat $own .Values.extraEnv | toYaml -}}
{{- end -}}

{{/* Where more variables come from; nothing when there is nothing. */}}
{{- define "signalbox.envFrom" -}}
{{- $from := list -}}
{{- with include "signalbox.envSecret" . -}}
{{- $from = append $from (dict "secretRef" (dict "name" .)) -}}
{{- end -}}
{{- with concat $from .Values.extraEnvFrom -}}
{{- toYaml . -}}
{{- end -}}
{{- end -}}
