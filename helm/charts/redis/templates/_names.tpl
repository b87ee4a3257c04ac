{{- define "redis.fullname" -}}
{{- printf "%s-redis" (.Release.Name | replace "." "-" | trunc 57 | trimSuffix "-") -}}
{{- end -}}

{{- define "redis.selectorLabels" -}}
app.kubernetes.io/name: redis
app.kubernetes.io/instance: {{ .Release.Name }}
{{- end -}}

{{- define "redis.metadata" -}}
name: {{ include "redis.fullname" . }}
namespace: {{ .Release.Namespace }}
labels:
  helm.sh/chart: {{ printf "redis-%s" .Chart.Version | replace "+" "_" }}
  {{- include "redis.selectorLabels" . | nindent 2 }}
  app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
  app.kubernetes.io/managed-by: {{ .Release.Service }}
{{- end -}}
