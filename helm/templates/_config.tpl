{{/* `signalbox.yaml`: the values' `config`, and what the chart knows itself. */}}
{{- define "signalbox.config" -}}
{{- $own := dict "server" (dict "port" (int .Values.ports.http)) -}}
{{- if include "signalbox.servesMetrics" . -}}
{{- $_ := set $own "metrics" (dict "port" (int .Values.ports.metrics)) -}}
{{- end -}}
{{- if include "signalbox.servesAdmin" . -}}
{{- $_ := set $own "admin" (dict "port" (int .Values.ports.admin)) -}}
{{- end -}}
{{- if include "signalbox.clientKeysSecret" . -}}
{{- $_ := set $own "auth" (dict "keyFiles" (append (default (list) (.Values.config.auth).keyFiles) "/etc/signalbox-keys")) -}}
{{- end -}}
{{- if include "signalbox.extensionsVolume" . -}}
{{- $_ := set $own "extensions" (printf "/etc/signalbox-extensions/%s" .Values.extensions.module) -}}
{{- end -}}
{{- if .Values.redis.enabled -}}
{{- $store := dict "kind" "redis" "url" (printf "redis://%s:6379" (include "redis.fullname" .)) -}}
{{- if ((.Values.redis).auth).existingSecret -}}
{{- $_ := set $store "password" "${REDIS_PASSWORD}" -}}
{{- end -}}
{{- $_ := set $own "store" $store -}}
{{- end -}}
{{- mergeOverwrite (dict "server" (dict "host" "0.0.0.0")) (include "signalbox.withoutNulls" .Values.config | fromJson) $own | toYaml -}}
{{- end -}}

{{/* A map as JSON, without what another file of values has set to null: that is to be left out. */}}
{{- define "signalbox.withoutNulls" -}}
{{- $kept := dict -}}
{{- range $name, $value := . -}}
{{- if kindIs "map" $value -}}
{{- $_ := set $kept $name (include "signalbox.withoutNulls" $value | fromJson) -}}
{{- else if not (kindIs "invalid" $value) -}}
{{- $_ := set $kept $name $value -}}
{{- end -}}
{{- end -}}
{{- toJson $kept -}}
{{- end -}}

{{/* What of it takes a restart: the gateway takes up the rest while it runs. */}}
{{- define "signalbox.restartConfig" -}}
{{- $config := include "signalbox.config" . | fromYaml -}}
{{- $fixed := omit $config "providers" "models" "agents" "catalog" "auth" -}}
{{- $_ := set $fixed "server" (omit $config.server "logLevel" "bodyLimit" "jsonDepth") -}}
{{- $_ := set $fixed "hasAuth" (hasKey $config "auth") -}}
{{- toYaml $fixed -}}
{{- end -}}

{{/* "true" or nothing. */}}
{{- define "signalbox.servesMetrics" -}}
{{- if ne false (.Values.config.metrics).enabled }}true{{ end -}}
{{- end -}}

{{- define "signalbox.servesAdmin" -}}
{{- if (.Values.config.admin).enabled }}true{{ end -}}
{{- end -}}

{{/* Whether clients need a key, as far as the chart can see. */}}
{{- define "signalbox.needsKeys" -}}
{{- if or (include "signalbox.clientKeysSecret" .) (.Values.config.auth).keys (.Values.config.auth).keyFiles (include "signalbox.servesAdmin" .) .Values.extensions.auth }}true{{ end -}}
{{- end -}}

{{/* The fewest replicas that there are. */}}
{{- define "signalbox.replicas" -}}
{{- if .Values.autoscaling.enabled -}}
{{- .Values.autoscaling.minReplicas -}}
{{- else if .Values.keda.enabled -}}
{{- .Values.keda.minReplicas -}}
{{- else -}}
{{- .Values.replicaCount -}}
{{- end -}}
{{- end -}}
